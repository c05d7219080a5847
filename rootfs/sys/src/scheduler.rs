//! Real-time priority for processes whose late timers others would take for their death.

use std::io;

/// Runs this process before all normal ones, at a priority of 1 to 99, taking turns with its equals.
/// Children start as normal processes.
pub fn run_in_real_time(priority: u8) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: i32::from(priority) };
    // SAFETY: the parameter is a whole `sched_param` that lives across the call; 0 means ourselves.
    let status = unsafe {
        libc::sched_setscheduler(
            0,
            libc::SCHED_RR | libc::SCHED_RESET_ON_FORK,
            &raw const parameter,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether this process runs in real time already, by somebody else's doing.
pub fn runs_in_real_time() -> bool {
    // SAFETY: the call takes a number and returns one.
    let policy = unsafe { libc::sched_getscheduler(0) } & !libc::SCHED_RESET_ON_FORK;
    policy == libc::SCHED_RR || policy == libc::SCHED_FIFO
}
