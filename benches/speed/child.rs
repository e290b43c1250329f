//! The bench starts itself: a server, a bare loop and a publication are processes of their own, so
//! that each can be measured alone.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::play::{Counts, Play};

/// A server that runs until it is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) url: String,
}

impl Running {
    pub(crate) fn start(play: &Play) -> Running {
        let mut child = this_program("serve", play);
        let mut url = String::new();
        let told = child.stdout.take().expect("it is piped");
        BufReader::new(told).read_line(&mut url).expect("a server tells its address");
        Running { child, url: url.trim().to_owned() }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.ask("/counts")
    }

    /// Lets the source of it go on: what changed then is there, and requests are counted anew.
    pub(crate) fn advance(&self) {
        self.ask("/advance");
    }

    /// The address under which it is one of many.
    pub(crate) fn house(&self, number: usize) -> String {
        format!("{}/s{number}", self.url)
    }

    fn ask(&self, path: &str) -> Counts {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the server runs");
        let request = format!("GET {path} HTTP/1.1\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the server listens");
        stream.shutdown(std::net::Shutdown::Write).expect("the connection is ours");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        serde_json::from_str(body).expect("counts")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; nothing depends on how.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs this program with a part and its order, and reads what it did.
pub(crate) fn run<D: DeserializeOwned>(part: &str, order: &impl Serialize) -> D {
    let output = this_program(part, order).wait_with_output().expect("it was started");
    assert!(output.status.success(), "the part `{part}` of the bench failed");
    serde_json::from_slice(&output.stdout).expect("a part tells what it did")
}

fn this_program(part: &str, order: &impl Serialize) -> Child {
    let order = serde_json::to_string(order).expect("an order is plain data");
    let program = std::env::current_exe().expect("a program knows where it is");
    let mut command = Command::new(program);
    command.arg(part).arg(order).stdout(Stdio::piped());
    command.spawn().expect("this program can be started")
}
