"""The group of series that live tables lie in: one writer, one step for all of them."""

GROUP = "live"
