//! A day of edits at a source that holds the sample data, for the demo.
