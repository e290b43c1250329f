//! The memory of this process is never written to a disk.
//!
//! What lives here: turning core dumps off. The one thing to know: memory holds secrets, tokens and
//! pages about children, and a dump would put them where nobody looks after them.

use rustix::process::{Resource, Rlimit};

/// For this process and those that it starts. Where the system does not let us, it goes on: the
/// configuration of the machine decides then.
pub fn turn_off() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    // A program that dumps are piped to is called whatever the limit says, but for these.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
