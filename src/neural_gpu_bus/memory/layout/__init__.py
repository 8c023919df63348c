"""Where each buffer of a block lies. Pure: no file is touched here."""
