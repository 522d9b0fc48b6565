//! A register with compare-and-set.

use super::frontier::{Effect, SequentialModel};

/// A call on a register; values are numbers that the caller chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterCall {
    /// It returned this.
    Read(u32),
    /// It wrote this.
    Write(u32),
    /// It found the first and put the second in its place.
    CompareAndSet(u32, u32),
}

/// A register with read, write and compare-and-set. Values need not be unique.
#[derive(Clone, Copy, Debug, Default)]
pub struct CasRegister;

impl SequentialModel for CasRegister {
    type State = u32;
    type Call = RegisterCall;

    fn step(&self, state: &u32, call: &RegisterCall) -> Option<u32> {
        match *call {
            RegisterCall::Read(value) => (*state == value).then_some(value),
            RegisterCall::Write(value) => Some(value),
            RegisterCall::CompareAndSet(from, to) => (*state == from).then_some(to),
        }
    }

    fn effect(&self, call: &RegisterCall) -> Effect {
        match call {
            RegisterCall::Read(_) => Effect::Observes,
            RegisterCall::Write(_) => Effect::Overwrites,
            RegisterCall::CompareAndSet(from, to) if from == to => Effect::Observes,
            RegisterCall::CompareAndSet(..) => Effect::Changes,
        }
    }

    fn is_same(&self, a: &RegisterCall, b: &RegisterCall) -> bool {
        a == b
    }
}

/// A register of which a read may return any of the last versions written.
#[derive(Clone, Copy, Debug)]
pub struct LastVersions {
    /// How many versions: 1 for a register.
    pub versions: usize,
}

impl SequentialModel for LastVersions {
    /// The newest last.
    type State = Vec<u32>;
    type Call = RegisterCall;

    fn step(&self, state: &Vec<u32>, call: &RegisterCall) -> Option<Vec<u32>> {
        match *call {
            RegisterCall::Read(value) => state.contains(&value).then(|| state.clone()),
            RegisterCall::Write(value) => {
                let from = (state.len() + 1).saturating_sub(self.versions);
                Some(state[from..].iter().copied().chain([value]).collect())
            }
            RegisterCall::CompareAndSet(..) => None,
        }
    }

    fn effect(&self, call: &RegisterCall) -> Effect {
        match call {
            RegisterCall::Read(_) => Effect::Observes,
            RegisterCall::Write(_) if self.versions == 1 => Effect::Overwrites,
            RegisterCall::Write(_) | RegisterCall::CompareAndSet(..) => Effect::Changes,
        }
    }

    fn is_same(&self, a: &RegisterCall, b: &RegisterCall) -> bool {
        a == b
    }
}
