//! The filter: a small classic BPF program that the kernel asks at each call of the target. What is
//! not listed passes at once; for the constant answers of the others the kernel keeps a bitmap
//! since 5.11, so that they cost a few nanoseconds.
//! <https://docs.kernel.org/userspace-api/seccomp_filter.html>

use std::{collections::BTreeSet, mem::offset_of};

use chaos_ebpf_common::tables::{CLONING, FICLONE, FICLONERANGE, IOCTL};
use nix::libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W,
    SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF, seccomp_data, sock_filter,
};

use super::abi::{ARCH_I386, ARCH_X86_64, Numbers, X32_BIT, numbers};

/// Where the lower half of a call's second argument is among its arguments.
const SECOND_ARGUMENT: usize = 8;

/// A finished program; at most 4096 instructions are allowed (`BPF_MAXINSNS`), and this has fewer
/// than 2000 when every call is listed.
pub struct Filter(Vec<sock_filter>);

impl Filter {
    /// Notifies of these calls, by the numbers of the tables, made in whichever way the machine has:
    /// x86-64, x32 or i386.
    pub fn new(calls: &BTreeSet<u32>) -> Self {
        let ioctl = BTreeSet::from([u32::from(IOCTL)]);
        // One that clones is told apart here, as there are many others.
        let cloning = match calls.contains(&u32::from(CLONING)) && calls.is_disjoint(&ioctl) {
            true => numbers(&ioctl),
            false => Numbers { native: BTreeSet::new(), i386: BTreeSet::new() },
        };
        let calls = calls.iter().copied().filter(|call| *call != u32::from(CLONING)).collect();
        let Numbers { native, i386 } = numbers(&calls);
        let native = block(!X32_BIT, &native, &cloning.native);
        let i386 = block(u32::MAX, &i386, &cloning.i386);
        let mut program = vec![
            load(offset_of!(seccomp_data, arch)),
            unless(ARCH_X86_64, 1),
            jump(3),
            unless(ARCH_I386, 1),
            jump(1 + native.len()),
            answer(SECCOMP_RET_ALLOW),
        ];
        program.extend(native);
        program.extend(i386);
        Self(program)
    }

    pub fn program(&self) -> &[sock_filter] {
        &self.0
    }
}

/// `cloning` are the numbers of those that are told of when they clone.
fn block(mask: u32, numbers: &BTreeSet<u32>, cloning: &BTreeSet<u32>) -> Vec<sock_filter> {
    let mut block = vec![
        load(offset_of!(seccomp_data, nr)),
        instruction(BPF_ALU | BPF_AND | BPF_K, mask, 0, 0),
    ];
    for number in numbers {
        block.push(unless(*number, 1));
        block.push(answer(SECCOMP_RET_USER_NOTIF));
    }
    for number in cloning {
        block.push(unless(*number, 6));
        block.push(load(offset_of!(seccomp_data, args) + SECOND_ARGUMENT));
        for command in [FICLONE, FICLONERANGE] {
            block.push(unless(command, 1));
            block.push(answer(SECCOMP_RET_USER_NOTIF));
        }
        block.push(answer(SECCOMP_RET_ALLOW));
    }
    block.push(answer(SECCOMP_RET_ALLOW));
    block
}

fn load(offset: usize) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, offset as u32, 0, 0)
}

/// Skips instructions unless the loaded value is `value`.
fn unless(value: u32, skip: u8) -> sock_filter {
    instruction(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
}

fn jump(skip: usize) -> sock_filter {
    instruction(BPF_JMP | BPF_JA, skip as u32, 0, 0)
}

fn answer(action: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, action, 0, 0)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::abi::native;

    /// The few instructions that the filter is made of, as the kernel runs them.
    fn run(filter: &Filter, arch: u32, number: u32) -> u32 {
        run_with(filter, arch, number, 0)
    }

    /// The same with a second argument.
    fn run_with(filter: &Filter, arch: u32, number: u32, second: u32) -> u32 {
        let mut accumulator = 0u32;
        let mut at = 0;
        loop {
            let sock_filter { code, jt, jf, k } = filter.program()[at];
            at += 1;
            match u32::from(code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    accumulator = match k as usize {
                        0 => number,
                        4 => arch,
                        24 => second,
                        offset => panic!("offset {offset}"),
                    };
                }
                code if code == BPF_ALU | BPF_AND | BPF_K => accumulator &= k,
                code if code == BPF_JMP | BPF_JEQ | BPF_K => {
                    at += usize::from(if accumulator == k { jt } else { jf });
                }
                code if code == BPF_JMP | BPF_JA => at += k as usize,
                code if code == BPF_RET | BPF_K => return k,
                code => panic!("instruction {code}"),
            }
        }
    }

    fn filter(names: &[&str]) -> Filter {
        Filter::new(&names.iter().map(|name| native(name).unwrap()).collect())
    }

    #[test]
    fn listed_calls_are_told_of_however_they_are_made() {
        let filter = filter(&["openat", "readv", "connect"]);
        for (arch, number) in [
            (ARCH_X86_64, 257),
            (ARCH_X86_64, 257 | X32_BIT),
            (ARCH_X86_64, 515 | X32_BIT),
            (ARCH_I386, 295),
            (ARCH_I386, 145),
            (ARCH_I386, 102),
        ] {
            assert_eq!(run(&filter, arch, number), SECCOMP_RET_USER_NOTIF, "{arch:x} {number}");
        }
        for (arch, number) in [
            (ARCH_X86_64, 0),
            (ARCH_X86_64, 295),
            (ARCH_X86_64, u32::MAX),
            (ARCH_I386, 257),
            (0xc000_00b7, 257),
        ] {
            assert_eq!(run(&filter, arch, number), SECCOMP_RET_ALLOW, "{arch:x} {number}");
        }
    }

    #[test]
    fn of_an_ioctl_only_those_that_clone_are_told_of() {
        let clones: BTreeSet<u32> = [1, CLONING.into()].into();
        let ways = [(ARCH_X86_64, 16), (ARCH_X86_64, 514 | X32_BIT), (ARCH_I386, 54)];
        for (calls, others) in [
            (clones.clone(), SECCOMP_RET_ALLOW),
            (&clones | &[u32::from(IOCTL)].into(), SECCOMP_RET_USER_NOTIF),
        ] {
            let filter = Filter::new(&calls);
            for (arch, number) in ways {
                for command in [FICLONE, FICLONERANGE] {
                    let answer = run_with(&filter, arch, number, command);
                    assert_eq!(answer, SECCOMP_RET_USER_NOTIF, "{arch:x} {number}");
                }
                assert_eq!(run_with(&filter, arch, number, 0x5401), others, "{arch:x} {number}");
            }
            assert_eq!(run_with(&filter, ARCH_X86_64, 1, 0), SECCOMP_RET_USER_NOTIF);
            assert_eq!(run_with(&filter, ARCH_X86_64, 2, FICLONE), SECCOMP_RET_ALLOW);
        }
    }

    #[test]
    fn all_calls_at_once_fit() {
        let all: BTreeSet<u32> = (0..512).collect();
        let filter = Filter::new(&all);
        assert!(filter.program().len() < 2000, "{}", filter.program().len());
        assert_eq!(run(&filter, ARCH_X86_64, 511), SECCOMP_RET_USER_NOTIF);
        assert_eq!(run(&filter, ARCH_I386, 1), SECCOMP_RET_USER_NOTIF);
    }
}
