"""CSV: parsed by pyarrow as text, then each column cast to its type, so that a bad value can be
named by row, line, column and value wherever it stands.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from neural_gpu_bus.errors import BadFileError
from neural_gpu_bus.stores.files import csv_types
from neural_gpu_bus.stores.files.content import HEAD_BYTES, bad_file, unzipped_head
from neural_gpu_bus.stores.files.csv_quotes import BadQuote, QuoteScan, ScannedSource
from neural_gpu_bus.stores.files.csv_values import cast_text, expected, first_misfit
from neural_gpu_bus.stores.files.data_file import FileRows

#: Bytes parsed at once; one row must fit.
BLOCK_BYTES = 4 << 20

_DELIMITERS = ",;\t|"


class CsvFile:
    """A CSV file with a header, separated by comma, semicolon, tab or bar."""

    def __init__(self, path: Path, *, gzipped: bool) -> None:
        self.path = path
        self._gzipped = gzipped
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        first = (unzipped_head(path, head) if gzipped else head).removeprefix(b"\xef\xbb\xbf")
        line = next(line for line in first.splitlines() if line.strip()).decode("utf-8", "replace")
        self._delimiter = max(_DELIMITERS, key=line.count)
        self.column_names = tuple(next(csv.reader([line], delimiter=self._delimiter)))
        self._check_header()

    def read(self, types: Mapping[str, pa.DataType]) -> FileRows:
        """Its rows; columns without a type in ``types`` are looked at first, in every row."""
        rows: int | None = None
        notes: tuple[str, ...] = ()
        known = {name: types[name] for name in self.column_names if name in types}
        if len(known) < len(self.column_names):
            surveys, rows = self._survey(known)
            known |= {name: survey.type for name, survey in surveys.items()}
            notes = tuple(self._notes(surveys))
        schema = pa.schema([(name, known[name]) for name in self.column_names])
        return FileRows(schema, rows, lambda: self._batches(schema), self._line_of, notes)

    def _notes(self, surveys: Mapping[str, csv_types.ColumnSurvey]) -> Iterator[str]:
        for name, survey in surveys.items():
            if survey.written_number is not None:
                yield (
                    f"{self.path}: column {name!r} is text; values such as "
                    f"{survey.written_number!r} are read as numbers once they have a decimal point "
                    "and nothing but digits beside it"
                )

    def _check_header(self) -> None:
        names = self.column_names
        if len(names) == 1 and self.path.suffix.lower() not in (".csv", ".gz", ".tsv", ".txt"):
            raise bad_file(self.path, "looks like text without columns")
        if all(csv_types.is_number(name) for name in names):
            raise bad_file(
                self.path,
                f"starts with values ({', '.join(names[:3])}) where column names should stand",
                "put a line with the column names first",
                row=0,
            )
        for position, name in enumerate(names, 1):
            if not name.strip():
                raise bad_file(self.path, f"column {position} has no name", "give it one in line 1")
            if names.count(name) > 1:
                raise bad_file(self.path, f"two columns are named {name!r}", "rename one of them")

    def _survey(
        self, known: Mapping[str, pa.DataType]
    ) -> tuple[dict[str, csv_types.ColumnSurvey], int]:
        """The columns whose types are not known, looked at in all rows, and the number of rows."""
        surveys = {
            name: csv_types.ColumnSurvey() for name in self.column_names if name not in known
        }
        rows = 0
        for batch in self._text_batches():
            for name, survey in surveys.items():
                misfit = survey.look_at(batch.column(name))
                if misfit is not None:
                    raise self._bad_value(
                        rows + misfit + 1,
                        name,
                        batch.column(name)[misfit],
                        survey.expected,
                        survey.way_out(name),
                    )
            rows += batch.num_rows
        if not rows:
            raise bad_file(
                self.path,
                "has a header and no rows, so that its columns have no types",
                "load a file with rows first, or create the table",
            )
        return surveys, rows

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        rows = 0
        for batch in self._text_batches():
            arrays = [self._cast(batch.column(field.name), field, rows) for field in schema]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            rows += batch.num_rows

    def _cast(self, text: Any, field: Any, rows_before: int) -> Any:
        try:
            return cast_text(text, field.type)
        except pa.ArrowInvalid:
            index = first_misfit(text, field.type)
            raise self._bad_value(
                rows_before + index + 1, field.name, text[index], expected(field.type), ""
            ) from None

    def _bad_value(self, row: int, column: str, value: Any, wanted: str, hint: str) -> BadFileError:
        line = self._line_of(row)
        # As bytes: nobody has checked yet that it is UTF-8.
        shown = value.cast(pa.binary()).as_py().decode("utf-8", "replace")
        return bad_file(
            self.path,
            f"row {row} (line {line}), column {column!r}: {shown!r} is not {wanted}",
            hint or "mend the value; nothing of the file was loaded",
            row=row,
            column=column,
            line=line,
        )

    def _text_batches(self) -> Iterator[pa.RecordBatch]:
        """All rows with every column as text; empty and unquoted is NULL."""
        wrong: list[Any] = []

        def note_wrong(row: Any) -> str:
            wrong.append(row)
            return "error"

        rows = 0
        scan = QuoteScan(self._delimiter)
        try:
            with self._source() as source:
                for batch in self._open(ScannedSource(source, scan), note_wrong):
                    self._check_quotes(scan.text_after_quote)
                    rows += batch.num_rows
                    if batch.num_rows:
                        yield batch
        except (pa.ArrowInvalid, OSError, EOFError) as error:
            raise self._unreadable(error, wrong, rows) from None
        self._check_quotes(scan.at_end)

    def _check_quotes(self, bad: BadQuote | None) -> None:
        if bad is not None:
            raise bad_file(
                self.path,
                str(bad),
                'close the value, or write a quote inside it twice (""); nothing of the file was '
                "loaded",
                row=bad.row,
                line=bad.line,
            )

    def _first_bad_quote(self) -> BadQuote | None:
        """Reads the file once more, which only a refusal does."""
        scan = QuoteScan(self._delimiter)
        try:
            with self._source() as source:
                while piece := source.read(BLOCK_BYTES):
                    scan.take(piece)
        except (pa.ArrowException, OSError):  # the file was cut: what is left is all there is
            return scan.text_after_quote
        return scan.at_end

    def _unreadable(self, error: Exception, wrong: list[Any], rows: int) -> BadFileError:
        row = wrong[0].number - 1 if wrong and wrong[0].number is not None else None
        quote = self._first_bad_quote()
        if quote is not None and (row is None or quote.row <= row):
            self._check_quotes(quote)
        if row is not None:
            line = self._line_of(row)
            return bad_file(
                self.path,
                f"row {row} (line {line}) has {wrong[0].actual_columns} values where the header "
                f"has {wrong[0].expected_columns} columns",
                f"values that hold {self._delimiter!r} need quotes; nothing of the file was loaded",
                row=row,
                line=line,
            )
        if "straddling" in str(error):
            why = f"holds a row of more than {BLOCK_BYTES >> 20} MiB after row {rows:,}"
            return bad_file(self.path, why, "a quote may be missing there")
        why = f"cannot be read as CSV after row {rows:,} ({str(error).splitlines()[0]})"
        return bad_file(self.path, why, "the file may be cut or broken: fetch or write it again")

    def _source(self) -> Any:
        compression: Any = "gzip" if self._gzipped else None
        return pa.input_stream(str(self.path), compression=compression)

    def _open(self, source: Any, note_wrong: Any) -> pacsv.CSVStreamingReader:
        return pacsv.open_csv(
            source,
            read_options=pacsv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
            parse_options=pacsv.ParseOptions(
                delimiter=self._delimiter,
                newlines_in_values=True,
                invalid_row_handler=note_wrong,
            ),
            convert_options=pacsv.ConvertOptions(
                check_utf8=False,
                column_types=dict.fromkeys(self.column_names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )

    def _line_of(self, row: int) -> int | None:
        """Line where a data row starts: lines and rows part ways at blank lines and at values
        that hold a line break. Reads the file once more, which only a refusal does.
        """
        with (
            self.path.open("rb") as raw,
            gzip.GzipFile(fileobj=raw) if self._gzipped else raw as unpacked,
            io.TextIOWrapper(unpacked, "utf-8-sig", errors="replace", newline="") as text,
        ):
            reader = csv.reader(text, delimiter=self._delimiter)
            lines = ((values, reader.line_num) for values in reader)
            return next(islice(_starts(lines), row, None), None)


def _starts(lines: Iterator[tuple[list[str], int]]) -> Iterator[int]:
    """First line of each row that is not blank; each row comes with its last line."""
    before = 0
    for values, last_line in lines:
        if values:
            yield before + 1
        before = last_line
