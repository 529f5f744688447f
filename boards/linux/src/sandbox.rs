//! What a domain's process may still ask of the kernel once its program runs: seccomp filters.
//!
//! A call that is not on the list fails with `EPERM`. No list has a call that makes a descriptor out
//! of a name, so a domain reaches only what it was handed.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// A system call that is allowed, and for which arguments: any of the rules, or always if there is none.
type Allowed = (libc::c_long, Vec<SeccompRule>);

/// What a program needs beyond what every domain needs.
pub enum Need {
    /// Talk on sockets it holds, and watch them.
    Sockets,
    /// Accept connections on listening sockets it holds, and close them.
    Accept,
    /// Receive datagrams from anywhere on these descriptors, and send them to anywhere.
    Datagrams(Vec<RawFd>),
    /// Connect sockets it holds to exactly these addresses: pointers to memory that cannot be changed
    /// any more, and lengths.
    Connect(Vec<(usize, u32)>),
}

fn equal(argument: u8, value: u64) -> SeccompCondition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
        .expect("argument numbers below are 0 to 5")
}

/// The first argument is this descriptor, of which the upper half of its register says nothing.
fn descriptor(fd: RawFd) -> SeccompCondition {
    SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, fd as u64)
        .expect("argument numbers are 0 to 5")
}

fn rule(conditions: Vec<SeccompCondition>) -> SeccompRule {
    SeccompRule::new(conditions).expect("no rule below is empty")
}

fn always(calls: &[libc::c_long]) -> impl Iterator<Item = Allowed> {
    calls.iter().map(|call| (*call, Vec::new()))
}

fn needed(need: &Need) -> Vec<Allowed> {
    match need {
        Need::Sockets => {
            let mut calls: Vec<Allowed> = always(&[
                libc::SYS_recvfrom,
                libc::SYS_shutdown,
                libc::SYS_setsockopt,
                libc::SYS_getsockopt,
                libc::SYS_epoll_ctl,
            ])
            .collect();
            // Without an address: `sendto` with one could open a connection (MSG_FASTOPEN).
            calls.push((libc::SYS_sendto, vec![rule(vec![equal(4, 0)])]));
            calls
        }
        Need::Accept => always(&[libc::SYS_accept4, libc::SYS_close]).collect(),
        Need::Datagrams(descriptors) => {
            let rules =
                || descriptors.iter().map(|fd| rule(vec![descriptor(*fd)])).collect::<Vec<_>>();
            // A call without a rule would be allowed for all.
            if descriptors.is_empty() {
                return Vec::new();
            }
            vec![(libc::SYS_recvmsg, rules()), (libc::SYS_sendmsg, rules())]
        }
        Need::Connect(targets) => {
            let rules = targets.iter().map(|(pointer, len)| {
                rule(vec![equal(1, *pointer as u64), equal(2, u64::from(*len))])
            });
            vec![(libc::SYS_connect, rules.collect())]
        }
    }
}

/// Closes the door behind this process: from now on only what every domain needs and `needs` is
/// possible, for good.
pub fn enter(needs: &[Need]) -> Result<(), String> {
    // SAFETY: none of these calls takes a pointer.
    let own_pid = unsafe {
        // A fault ends the domain. Rust's own handlers would first want to take themselves out, which the
        // filter does not let them, and the fault would come again and again.
        libc::signal(libc::SIGSEGV, libc::SIG_DFL);
        libc::signal(libc::SIGBUS, libc::SIG_DFL);
        libc::prctl(libc::PR_SET_DUMPABLE, 0);
        libc::getpid() as u64
    };
    let mut allowed: Vec<Allowed> = always(&[
        libc::SYS_read,
        libc::SYS_write,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait,
        libc::SYS_epoll_pwait,
        libc::SYS_clock_gettime,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigprocmask,
        libc::SYS_sigaltstack,
        libc::SYS_gettid,
        libc::SYS_getpid,
    ])
    .collect();
    // An abort signals its own process.
    allowed.push((libc::SYS_tgkill, vec![rule(vec![equal(0, own_pid)])]));
    allowed.extend(needs.iter().flat_map(needed));
    let rules: BTreeMap<libc::c_long, Vec<SeccompRule>> = allowed.into_iter().collect();
    let arch = std::env::consts::ARCH.try_into().map_err(|error| format!("{error}"))?;
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        arch,
    )
    .map_err(|error| error.to_string())?;
    let program: BpfProgram = filter.try_into().map_err(|error| format!("{error}"))?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}
