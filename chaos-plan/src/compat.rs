//! The calls of 32-bit programs by the numbers of x86-64, as programs in the kernel look them up.

use chaos_ebpf_common::tables::{COMPAT, IPC, JOINED, NO_CALL, NUMBERS, SOCKETCALL};

use super::abi::{ARCH_I386, native_of};

/// For each number of a 32-bit caller that of x86-64, and behind them those of the calls that
/// `socketcall` and `ipc` stand for; [`NO_CALL`] where x86-64 has none.
pub fn compat_numbers() -> [u16; COMPAT] {
    let own = (0..u32::from(NUMBERS)).map(|number| (number, 0));
    let joined = |joint: u16| (0..JOINED as u64).map(move |which| (u32::from(joint), which));
    let called: Vec<(u32, u64)> = own.chain(joined(SOCKETCALL)).chain(joined(IPC)).collect();
    std::array::from_fn(|at| {
        let (called, which) = called[at];
        native_of(ARCH_I386, called, which)
            .and_then(|number| u16::try_from(number).ok())
            .filter(|number| *number < NUMBERS)
            .unwrap_or(NO_CALL)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of `arch/x86/entry/syscalls/syscall_{32,64}.tbl`.
    #[test]
    fn numbers_of_both_architectures() {
        let numbers = compat_numbers();
        for (called, native) in [
            // exit, read, chown, pread64, mmap2, chown32, openat, clock_gettime, clock_gettime64
            (1, 60),
            (3, 0),
            (182, 92),
            (180, 17),
            (192, 9),
            (212, 92),
            (295, 257),
            (265, 228),
            (403, 228),
            // _newselect, futex_time64
            (142, 23),
            (422, 202),
        ] {
            assert_eq!(numbers[called], native, "{called}");
        }
        assert_eq!((numbers[102], numbers[117], numbers[511]), (NO_CALL, NO_CALL, NO_CALL));
        let socketcall = usize::from(NUMBERS);
        // None, socket, accept4
        assert_eq!([0, 1, 18].map(|which| numbers[socketcall + which]), [NO_CALL, 41, 288]);
        let ipc = socketcall + JOINED;
        // None, semget, shmat
        assert_eq!([0, 2, 21].map(|which| numbers[ipc + which]), [NO_CALL, 64, 30]);
        assert!(numbers.iter().all(|number| *number < NUMBERS || *number == NO_CALL));
    }
}
