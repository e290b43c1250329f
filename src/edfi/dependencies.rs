//! The dependency document in its two forms, made into one graph (`edfi-wire §9`).
