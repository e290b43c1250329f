//! When each publication is due.
