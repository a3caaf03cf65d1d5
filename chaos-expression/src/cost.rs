//! Bounds what an evaluation may cost, in steps that do not depend on the machine.

use crate::ExpressionError;

/// A step is a part of an expression that is evaluated, an element that is copied or compared, or 16 bytes of text that are
/// read or written. On a slow machine they take some tenths of a second.
const MOST_STEPS: usize = 1_000_000;

/// What is left of the steps.
pub struct Cost {
    left: usize,
}

impl Cost {
    pub fn new() -> Self {
        Self { left: MOST_STEPS }
    }

    /// Takes steps away.
    pub fn charge(&mut self, steps: usize) -> Result<(), ExpressionError> {
        self.left = self.left.checked_sub(steps).ok_or(ExpressionError::TooExpensive)?;
        Ok(())
    }

    /// Takes the steps for text of this length away, in bytes.
    pub fn charge_bytes(&mut self, length: usize) -> Result<(), ExpressionError> {
        self.charge(length / 16)
    }
}
