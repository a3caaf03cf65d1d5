//! Adds up what BPF programs keep on their stacks, as the verifier does: kernels differ in how they round it, and an object
//! that a new one takes may be too much for an old one.
//! <https://github.com/torvalds/linux/blob/v6.1/kernel/bpf/verifier.c> `check_max_stack_depth`

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use object::{
    File, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex,
    SectionKind, SymbolKind,
};

/// What all functions on one way through a program may keep together (`MAX_BPF_STACK`), in bytes.
pub const MOST: u32 = 512;

/// Each function's is rounded up to this; from 6.8 on to half of it.
const ROUNDED_TO: u32 = 32;

/// A function with its own bytes, and those it calls.
type Way = Vec<(String, u32)>;

/// The way through a program on which most is kept, from the program on.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Deepest {
    /// Rounded and added up.
    pub bytes: u32,
    pub way: Way,
}

/// Of each function, by its name.
pub struct Stacks {
    own: BTreeMap<String, u32>,
    calls: BTreeMap<String, Vec<String>>,
}

/// Where a function is: in which section, from where on, and how long.
struct Place {
    section: SectionIndex,
    range: std::ops::Range<u64>,
    name: String,
}

impl Stacks {
    /// Reads the code of a BPF object.
    pub fn of(file: &File<'_>) -> Result<Self> {
        let mut places = Vec::new();
        for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
            let Some(section) = symbol.section_index() else { continue };
            let range = symbol.address()..symbol.address() + symbol.size();
            let name = symbol.name().context("symbol table")?.to_owned();
            places.push(Place { section, range, name });
        }
        let mut stacks = Self { own: BTreeMap::new(), calls: BTreeMap::new() };
        for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
            let data = section.data().context("code section")?;
            let called: HashMap<u64, RelocationTarget> =
                section.relocations().map(|(at, relocation)| (at, relocation.target())).collect();
            let find = |section: SectionIndex, address: u64| {
                let is_there =
                    |place: &&Place| place.section == section && place.range.contains(&address);
                places.iter().find(is_there).map(|place| place.name.clone())
            };
            for place in places.iter().filter(|place| place.section == section.index()) {
                let mut function = Function::default();
                for at in place.range.clone().step_by(Instruction::BYTES) {
                    let bytes = data.get(at as usize..).and_then(|rest| rest.first_chunk());
                    let instruction = Instruction::of(bytes.context("code that is cut off")?);
                    function.take(instruction);
                    if !instruction.is_call() {
                        continue;
                    }
                    // Relative to the next instruction; in a section that is named, to its beginning.
                    let ahead = (i64::from(instruction.immediate) + 1) * Instruction::BYTES as i64;
                    let callee = match called.get(&at) {
                        Some(RelocationTarget::Symbol(index)) => {
                            let symbol = file.symbol_by_index(*index).context("symbol table")?;
                            match (symbol.kind(), symbol.section_index()) {
                                (SymbolKind::Section, Some(section)) => find(section, ahead as u64),
                                _ => Some(symbol.name().context("symbol table")?.to_owned()),
                            }
                        }
                        _ => find(section.index(), at.wrapping_add_signed(ahead)),
                    };
                    stacks.calls.entry(place.name.clone()).or_default().extend(callee);
                }
                stacks.own.insert(place.name.clone(), function.depth);
            }
        }
        Ok(stacks)
    }

    /// The way on which most is kept.
    pub fn deepest(&self, function: &str) -> Deepest {
        let own = self.own.get(function).copied().unwrap_or(0);
        let calls = self.calls.get(function).into_iter().flatten();
        let below = calls.map(|callee| self.deepest(callee)).max_by_key(|below| below.bytes);
        let Deepest { bytes, way } = below.unwrap_or_default();
        let rounded = own.max(1).next_multiple_of(ROUNDED_TO);
        let way = [(function.to_owned(), own)].into_iter().chain(way).collect();
        Deepest { bytes: rounded + bytes, way }
    }
}

/// `struct bpf_insn` (`include/uapi/linux/bpf.h`), little endian as this machine.
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    offset: i16,
    immediate: i32,
}

/// The register that points to the end of the stack.
const FRAME: u8 = 10;

impl Instruction {
    const BYTES: usize = 8;

    fn of(&[code, registers, c, d, e, f, g, h]: &[u8; Self::BYTES]) -> Self {
        Self {
            code,
            to: registers & 0xf,
            from: registers >> 4,
            offset: i16::from_ne_bytes([c, d]),
            immediate: i32::from_ne_bytes([e, f, g, h]),
        }
    }

    /// Of a function of ours, not of a helper.
    fn is_call(self) -> bool {
        const CALL: u8 = 0x85;
        const PSEUDO_CALL: u8 = 1;
        self.code == CALL && self.from == PSEUDO_CALL
    }
}

/// What has been seen of a function.
#[derive(Default)]
struct Function {
    /// How far below the end of the stack it reads or writes.
    depth: u32,
    /// Registers that are the end of the stack, one bit each.
    copies: u16,
}

impl Function {
    fn take(&mut self, Instruction { code, to, from, offset, immediate }: Instruction) {
        const LOAD: u8 = 1;
        const STORES: [u8; 2] = [2, 3];
        const MOVE: u8 = 0xbf;
        const ADD: u8 = 0x07;
        let class = code & 7;
        if class == LOAD && from == FRAME || STORES.contains(&class) && to == FRAME {
            self.reach(offset.into());
        } else if code == MOVE && from == FRAME {
            self.copies |= 1 << to;
        } else if code == ADD && self.copies >> to & 1 == 1 {
            self.reach(immediate);
            self.copies &= !(1 << to);
        }
    }

    fn reach(&mut self, offset: i32) {
        if offset < 0 {
            self.depth = self.depth.max(offset.unsigned_abs());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
        Instruction { code, to, from, offset, immediate }
    }

    #[test]
    fn what_is_read_written_or_handed_on_counts() {
        let mut function = Function::default();
        // *(u32 *)(r10 - 8) = r1; r2 = r10; r2 += -40; r3 += -400; r1 = *(u64 *)(r10 - 24)
        for (taken, depth) in [
            (instruction(0x63, 10, 1, -8, 0), 8),
            (instruction(0xbf, 2, 10, 0, 0), 8),
            (instruction(0x07, 2, 0, 0, -40), 40),
            (instruction(0x07, 3, 0, 0, -400), 40),
            (instruction(0x79, 1, 10, -24, 0), 40),
            // Once more, which is no stack pointer any longer.
            (instruction(0x07, 2, 0, 0, -400), 40),
        ] {
            function.take(taken);
            assert_eq!(function.depth, depth);
        }
        assert!(
            instruction(0x85, 0, 1, 0, 3).is_call() && !instruction(0x85, 0, 0, 0, 3).is_call()
        );
    }

    #[test]
    fn the_deepest_way_is_rounded_function_by_function() {
        let own = [("main", 40), ("a", 1), ("b", 200), ("c", 33)];
        let calls = [("main", vec!["a", "b"]), ("a", vec!["c", "c"]), ("b", vec![])];
        let stacks = Stacks {
            own: own.map(|(name, own)| (name.to_owned(), own)).into(),
            calls: calls
                .map(|(name, callees)| {
                    (name.to_owned(), callees.into_iter().map(str::to_owned).collect())
                })
                .into(),
        };
        let deepest = stacks.deepest("main");
        assert_eq!(deepest.bytes, 64 + 224);
        assert_eq!(deepest.way, [("main".to_owned(), 40), ("b".to_owned(), 200)]);
        assert_eq!(stacks.deepest("a").bytes, 32 + 64);
    }
}
