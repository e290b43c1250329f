//! Writing to an Ed-Fi API.
