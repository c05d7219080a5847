//! What went over the wires, as a file that Wireshark opens: one interface for each port, faults as
//! comments on the frames that they touched.
//!
//! Written are the blocks of the pcapng draft that this takes: section header, interface
//! description, enhanced packet. All numbers are little-endian, all blocks padded to four bytes.

use std::io::{self, Write};
use std::time::Duration;

use crate::rule::Port;
use crate::switch::{Fault, What};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const LINK_ETHERNET: u16 = 1;
const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const OPTION_NAME: u16 = 2;
/// `if_tsresol` 9: times are in nanoseconds.
const OPTION_RESOLUTION: u16 = 9;

/// Writes a capture as it happens.
#[derive(Debug)]
pub struct Capture<W: Write> {
    sink: W,
    block: Vec<u8>,
}

impl<W: Write> Capture<W> {
    /// Begins a capture of ports with these names.
    pub fn new(sink: W, ports: &[String]) -> io::Result<Self> {
        let mut capture = Self { sink, block: Vec::new() };
        let mut header = Vec::new();
        header.extend(BYTE_ORDER.to_le_bytes());
        header.extend(1_u16.to_le_bytes());
        header.extend(0_u16.to_le_bytes());
        // The length of the section isn't known while it is written.
        header.extend(u64::MAX.to_le_bytes());
        capture.write(SECTION_HEADER, &header)?;
        for name in ports {
            let mut body = Vec::new();
            body.extend(LINK_ETHERNET.to_le_bytes());
            body.extend(0_u16.to_le_bytes());
            body.extend(0_u32.to_le_bytes());
            option(&mut body, OPTION_NAME, name.as_bytes());
            option(&mut body, OPTION_RESOLUTION, &[9]);
            option(&mut body, OPTION_END, &[]);
            capture.write(INTERFACE, &body)?;
        }
        Ok(capture)
    }

    /// Notes a frame that came in at a port, and what was done to it.
    pub fn frame(
        &mut self,
        at: Duration,
        port: Port,
        frame: &[u8],
        faults: &[Fault],
    ) -> io::Result<()> {
        let time = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let [high, low] = [time >> 32, time & 0xffff_ffff].map(u64::to_le_bytes);
        let mut body = Vec::with_capacity(frame.len() + 64);
        body.extend(u32::try_from(port.0).unwrap_or(u32::MAX).to_le_bytes());
        body.extend(&high[..4]);
        body.extend(&low[..4]);
        body.extend(length.to_le_bytes());
        body.extend(length.to_le_bytes());
        body.extend(frame);
        pad(&mut body);
        for fault in faults {
            option(&mut body, OPTION_COMMENT, comment(fault).as_bytes());
        }
        if !faults.is_empty() {
            option(&mut body, OPTION_END, &[]);
        }
        self.write(ENHANCED_PACKET, &body)
    }

    /// Makes sure that everything is in the file.
    pub fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    fn write(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        // Kind and length before the body, the length again behind it.
        let length = u32::try_from(body.len() + 12).map_err(io::Error::other)?.to_le_bytes();
        self.block.clear();
        self.block.extend(kind.to_le_bytes());
        self.block.extend(length);
        self.block.extend(body);
        self.block.extend(length);
        self.sink.write_all(&self.block)
    }
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(0).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn comment(fault: &Fault) -> String {
    let what = match fault.what {
        What::Dropped => "dropped".to_owned(),
        What::Delayed(by) => format!("delayed by {:.3} ms", by.as_secs_f64() * 1000.0),
        What::Duplicated => "duplicated".to_owned(),
        What::Corrupted => "a bit turned over".to_owned(),
        What::Held => "held".to_owned(),
        What::Overflowed => "lost, the switch was full".to_owned(),
    };
    let by = fault.rule.map_or_else(String::new, |rule| format!(" by rule {}", rule.0));
    format!("to port {}: {what}{by}", fault.to.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::RuleId;

    /// Takes a capture apart into blocks of (kind, body), checking both lengths.
    fn blocks(mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let number = |bytes: &[u8]| u32::from_le_bytes(*bytes.first_chunk().expect("four bytes"));
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let length = usize::try_from(number(&bytes[4..])).expect("small");
            assert_eq!(length % 4, 0);
            assert_eq!(number(&bytes[length - 4..]), number(&bytes[4..]));
            found.push((number(bytes), bytes[8..length - 4].to_vec()));
            bytes = &bytes[length..];
        }
        found
    }

    #[test]
    fn a_capture_has_a_section_its_ports_and_its_frames() {
        let mut bytes = Vec::new();
        let names = ["node1".to_owned(), "tester".to_owned()];
        let mut capture = Capture::new(&mut bytes, &names).expect("written");
        let fault = Fault { rule: Some(RuleId(3)), to: Port(0), what: What::Dropped };
        let at = Duration::from_nanos(0x1_0000_0002);
        capture.frame(at, Port(1), &[7; 61], &[fault]).expect("written");
        capture.flush().expect("flushed");
        let blocks = blocks(&bytes);
        let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION_HEADER, INTERFACE, INTERFACE, ENHANCED_PACKET]);
        let packet = &blocks[3].1;
        assert_eq!(packet[..4], [1, 0, 0, 0], "the port");
        assert_eq!(packet[4..12], [1, 0, 0, 0, 2, 0, 0, 0], "the time, its upper half first");
        let text = String::from_utf8_lossy(packet);
        assert!(text.contains("to port 0: dropped by rule 3"), "{text}");
    }
}
