//! Somebody on the wire who belongs to nobody: frames of a drill's own making.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use vswitch::framing;

/// The other end of a port of the switch. What arrives there is never read.
#[derive(Debug)]
pub struct Stranger {
    stream: UnixStream,
}

impl Stranger {
    /// Takes the place of a machine at a port.
    pub fn plug_in(socket: &Path) -> io::Result<Self> {
        Ok(Self { stream: UnixStream::connect(socket)? })
    }

    /// Sends one whole Ethernet frame.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let mut packed = Vec::new();
        framing::pack(frame, &mut packed);
        self.stream.write_all(&packed)
    }
}
