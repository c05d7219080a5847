//! Classic BPF programs on sockets: what the kernel drops before it wakes anybody.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

/// One instruction, as `linux/filter.h` lays it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub operand: u32,
}

/// Puts a program on a socket, in place of an earlier one. The kernel verifies it first.
pub fn attach(socket: impl AsFd, program: &[Instruction]) -> io::Result<()> {
    let mut code: Vec<libc::sock_filter> = program
        .iter()
        .map(|one| libc::sock_filter {
            code: one.code,
            jt: one.jump_true,
            jf: one.jump_false,
            k: one.operand,
        })
        .collect();
    let length = u16::try_from(code.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: code.as_mut_ptr() };
    let size = libc::socklen_t::try_from(size_of::<libc::sock_fprog>())
        .map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `program` points to `len` instructions in `code`, which lives until the end of this
    // function; the kernel copies them during the call.
    let status = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
