//! Which programs have to be in front of which functions of the kernel.

use std::collections::{BTreeMap, BTreeSet};

use chaos_ebpf_common::object::CALL_ENTRY;

use super::{
    Backend, PlannedCall,
    entry::{self, Callers},
    family::number,
    security,
};

/// One program in front of one function, with the constants it is loaded with. They follow from
/// the function alone, so an attachment serves any rule set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Of the BPF object.
    pub program: &'static str,
    /// Whose entry it is.
    pub callers: Callers,
    /// At a security function the numbers of the calls that it stands for.
    pub calls: BTreeSet<u16>,
    /// There, what a request by io_uring counts as.
    pub uring: Option<u16>,
}

/// The programs for these calls, by function.
pub fn attachments<'a>(
    calls: impl IntoIterator<Item = &'a PlannedCall>,
) -> BTreeMap<String, Attachment> {
    calls
        .into_iter()
        .flat_map(|call| call.functions.iter().map(|function| (function.clone(), call.backend)))
        .filter_map(|(function, backend)| {
            let attachment = attachment(backend, &function)?;
            Some((function, attachment))
        })
        .collect()
}

/// What is attached to a function by a backend; `None` where the backend attaches nothing.
pub fn attachment(backend: Backend, function: &str) -> Option<Attachment> {
    match (backend, security::find(function)) {
        (Backend::Entry | Backend::Security, Some(guard)) => Some(Attachment {
            program: guard.program,
            callers: Callers::Native,
            calls: guard
                .calls
                .iter()
                .chain(guard.copying)
                .filter_map(|call| number(call))
                .collect(),
            uring: guard.uring.and_then(number),
        }),
        (Backend::Entry, None) => Some(Attachment {
            program: CALL_ENTRY,
            callers: entry::callers(function),
            calls: BTreeSet::new(),
            uring: None,
        }),
        (Backend::Security, None) | (Backend::Seccomp, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use chaos_ebpf_common::object::{
        CALL_GUARD, CALL_GUARD_ACCESS, CALL_GUARD_FILE, CALL_GUARD_OPEN, PROGRAMS,
    };

    use super::*;

    #[test]
    fn constants_follow_from_the_function() {
        let native = attachment(Backend::Entry, "__x64_sys_read").unwrap();
        let compat = attachment(Backend::Entry, "__ia32_compat_sys_openat").unwrap();
        let both = attachment(Backend::Entry, "__do_sys_sync").unwrap();
        let callers = [native.callers, compat.callers, both.callers];
        assert_eq!(callers, [Callers::Native, Callers::Compat, Callers::Both]);
        assert!([&native, &compat, &both].iter().all(|one| one.program == CALL_ENTRY));
        let open = attachment(Backend::Security, "security_file_open").unwrap();
        assert_eq!((open.program, open.uring), (CALL_GUARD_OPEN, Some(257)));
        assert_eq!(open.calls, BTreeSet::from([2, 85, 257, 437]));
        let file = attachment(Backend::Security, "security_file_permission").unwrap();
        assert_eq!((file.program, file.uring), (CALL_GUARD_ACCESS, None));
        // Where `fsync` by its entry has to know paths.
        assert_eq!(attachment(Backend::Entry, "security_file_open"), Some(open));
        let unlink = attachment(Backend::Security, "security_inode_unlink").unwrap();
        let mmap = attachment(Backend::Security, "security_mmap_file").unwrap();
        assert_eq!((unlink.program, mmap.program), (CALL_GUARD, CALL_GUARD_FILE));
        assert_eq!(attachment(Backend::Seccomp, "__x64_sys_read"), None);
        for program in [CALL_ENTRY, CALL_GUARD, CALL_GUARD_FILE, CALL_GUARD_OPEN, CALL_GUARD_ACCESS]
        {
            assert!(PROGRAMS.contains(&(program, "fentry")));
        }
    }
}
