//! The models of registers by name: the one list of them, with what each needs to see.
//!
//! A further model is a line here, beside its file and its line in [`crate::registry`]; then histories of other systems are
//! judged by it, files that are larger than memory too, and campaigns may expect it.

use crate::models::{
    causal, causal_convergence, causal_memory, linearizable, monotonic_quorum_reads, monotonic_reads, monotonic_writes,
    pram, read_your_writes, regular, safe, sequential, staleness, two_atomic, writes_follow_reads,
};

/// A model of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterModel {
    /// Name of its checker.
    pub name: &'static str,
    /// Whether each key is judged by itself.
    pub by_key: bool,
    /// Whether one pass over a history can decide it.
    pub one_pass: bool,
    /// Whether a history of another system is judged by it unasked.
    pub unasked: bool,
}

const fn model(name: &'static str) -> RegisterModel {
    RegisterModel { name, by_key: false, one_pass: false, unasked: true }
}

impl RegisterModel {
    const fn by_key(self) -> RegisterModel {
        RegisterModel { by_key: true, ..self }
    }

    const fn one_pass(self) -> RegisterModel {
        RegisterModel { one_pass: true, ..self }
    }

    const fn asked_for(self) -> RegisterModel {
        RegisterModel { unasked: false, ..self }
    }
}

/// All models of registers, sessions first.
pub const REGISTER_MODELS: &[RegisterModel] = &[
    model(read_your_writes::NAME).by_key().one_pass(),
    model(monotonic_reads::NAME).by_key().one_pass(),
    model(monotonic_writes::NAME).one_pass(),
    model(writes_follow_reads::NAME).one_pass(),
    model(pram::NAME).one_pass(),
    model(causal::NAME).one_pass(),
    model(causal_convergence::NAME).one_pass(),
    model(causal_memory::NAME).one_pass(),
    model(sequential::NAME).by_key().one_pass(),
    model(safe::NAME).by_key(),
    model(regular::NAME).by_key(),
    model(two_atomic::NAME).by_key(),
    model(linearizable::NAME).by_key().one_pass(),
    model(monotonic_quorum_reads::NAME).by_key().one_pass().asked_for(),
    model(staleness::NAME).asked_for(),
];

/// The model of that name, if it is one of registers.
pub(crate) fn find_register_model(name: &str) -> Option<&'static RegisterModel> {
    REGISTER_MODELS.iter().find(|model| model.name == name)
}
