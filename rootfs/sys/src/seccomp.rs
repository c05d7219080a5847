//! System calls that this process and its children give up for good.

use std::io;

use crate::socket_filter::Instruction;

/// Offsets into `struct seccomp_data`, which a filter reads like a packet.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const LOAD_WORD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
/// x86-64 has a second set of numbers for the same calls, from here on. No other architecture has
/// numbers as large.
const SECOND_SET: u32 = 0x4000_0000;
const ALLOW: u32 = 0x7fff_0000;
/// The call fails with "operation not permitted".
const DENY: u32 = 0x0005_0000 | (libc::EPERM as u32 & 0xffff);
const KILL_PROCESS: u32 = 0x8000_0000;

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const AUDIT_ARCHITECTURE: u32 = 0xc000_00f3;

/// What a network daemon never does, and whoever took one over would like to.
const NEVER: [libc::c_long; 28] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Denies the calls that no network daemon makes; `may_execute` is whether it starts programs.
///
/// A list of what is denied and not of what is allowed: the C library's calls change from release to
/// release, and a VIP that is lost to a new spelling of `poll` would be a bad trade.
pub fn deny_what_is_never_needed(may_execute: bool) -> io::Result<()> {
    let execution = [libc::SYS_execve, libc::SYS_execveat];
    let execution = if may_execute { &[][..] } else { &execution[..] };
    let denied: Vec<libc::c_long> = NEVER.iter().chain(execution).copied().collect();
    let program = program_denying(&denied)?;
    install(&program)
}

fn program_denying(calls: &[libc::c_long]) -> io::Result<Vec<Instruction>> {
    let plain = |code, operand| Instruction { code, jump_true: 0, jump_false: 0, operand };
    let mut program = vec![
        plain(LOAD_WORD, ARCHITECTURE_AT),
        Instruction {
            code: JUMP_IF_EQUAL,
            jump_true: 1,
            jump_false: 0,
            operand: AUDIT_ARCHITECTURE,
        },
        // The numbers below mean other calls in another calling convention.
        plain(RETURN, KILL_PROCESS),
        plain(LOAD_WORD, NUMBER_AT),
    ];
    let jump = u8::try_from(calls.len() + 1).map_err(|_| io::ErrorKind::InvalidInput)?;
    program.push(Instruction {
        code: JUMP_AT_LEAST,
        jump_true: jump,
        jump_false: 0,
        operand: SECOND_SET,
    });
    for (position, call) in calls.iter().enumerate() {
        // Over the remaining comparisons and the "allow" behind them.
        let jump = u8::try_from(calls.len() - position).map_err(|_| io::ErrorKind::InvalidInput)?;
        let operand = u32::try_from(*call).map_err(|_| io::ErrorKind::InvalidInput)?;
        program.push(Instruction { code: JUMP_IF_EQUAL, jump_true: jump, jump_false: 0, operand });
    }
    program.push(plain(RETURN, ALLOW));
    program.push(plain(RETURN, DENY));
    Ok(program)
}

fn install(program: &[Instruction]) -> io::Result<()> {
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
    let zero: libc::c_ulong = 0;
    let one: libc::c_ulong = 1;
    // SAFETY: both calls take numbers, and the second also the address of a program whose
    // instructions live in `code` until the end of this function; the kernel copies them.
    let status = unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::c_ulong::from(libc::SECCOMP_MODE_FILTER),
            &raw const program,
            zero,
            zero,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_denied_call_jumps_to_the_denial() {
        let program = program_denying(&[libc::SYS_mount, libc::SYS_ptrace]).expect("short");
        let deny = program.len() - 1;
        assert_eq!(program[deny].operand, DENY);
        for (at, one) in program.iter().enumerate().skip(4).take(3) {
            assert_eq!(at + 1 + usize::from(one.jump_true), deny);
        }
    }

    #[test]
    fn a_denied_call_fails_and_others_go_on() {
        // In a thread: a filter binds only the thread that installs it, and what it starts.
        let denied = std::thread::spawn(|| {
            deny_what_is_never_needed(false).expect("seccomp is there");
            let refused = std::process::Command::new("/bin/true").status();
            (refused.is_err(), std::fs::read("/proc/self/stat").is_ok())
        });
        assert_eq!(denied.join().expect("it lives"), (true, true));
    }
}
