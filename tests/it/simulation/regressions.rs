//! Histories in which something once went wrong, smallest first found, by what they taught.
