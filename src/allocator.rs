//! Where memory comes from and how soon it goes back: nothing else.
//!
//! jemalloc instead of the C library's allocator. That one keeps what buffers of pages leave behind in
//! as many places as there are threads; the one of the static program in the image has one lock for
//! all of them. How many places, and how soon they are given back, is in `.cargo/config.toml`, because it
//! is built in (ADR 0026).

/// Of every program that is made of this crate: what the benches compare asks it as well.
#[cfg(not(fuzzing))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
