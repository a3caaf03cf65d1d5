//! Hooks in the words of people who write faults.

use chaos_plan::{Backend, Hook};

/// What passes the hook, and so why a fault goes there.
pub fn sees(hook: Hook) -> &'static str {
    match hook {
        Hook::CgroupSkbEgress => "packets that leave a socket of the target",
        Hook::CgroupSkbIngress => "packets that are about to enter a socket of the target",
        Hook::Connect4 => "connect() of IPv4 sockets",
        Hook::Connect6 => "connect() of IPv6 sockets",
        Hook::Bind4 => "bind() of IPv4 sockets",
        Hook::Bind6 => "bind() of IPv6 sockets",
        Hook::SendMsg4 => "UDP datagrams sent to an IPv4 address named in the call",
        Hook::SendMsg6 => "UDP datagrams sent to an IPv6 address named in the call",
        Hook::SockCreate => "socket() of IPv4 and IPv6",
        Hook::SetSockopt => "setsockopt()",
        Hook::GetSockopt => "getsockopt()",
        Hook::TcxEgress | Hook::ClsactEgress => {
            "frames that leave the interfaces of the target's network namespace"
        }
        Hook::TcxIngress | Hook::ClsactIngress => {
            "frames that arrive at the interfaces of the target's network namespace"
        }
    }
}

/// Which calls a backend answers.
pub fn answers(backend: Backend) -> &'static str {
    match backend {
        Backend::Entry => "any system call, at its entry",
        Backend::Security => "system calls that pass a security function, there",
        Backend::Seccomp => {
            "any system call of the command of `run`, and of containers under our seccomp profile"
        }
    }
}
