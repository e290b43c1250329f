//! The program: arguments to exit code. Everything else is in the library.

fn main() -> std::process::ExitCode {
    tidemark::cli::main()
}
