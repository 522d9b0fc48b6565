//! A text with put, append and get.

use super::frontier::{Effect, SequentialModel};

/// A call on a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendCall {
    /// It returned this.
    Get(Box<str>),
    /// It replaced the text.
    Put(Box<str>),
    /// It added to the end.
    Append(Box<str>),
}

/// A text, empty at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct AppendModel;

impl SequentialModel for AppendModel {
    type State = Box<str>;
    type Call = AppendCall;

    fn step(&self, state: &Box<str>, call: &AppendCall) -> Option<Box<str>> {
        match call {
            AppendCall::Get(value) => (state == value).then(|| value.clone()),
            AppendCall::Put(value) => Some(value.clone()),
            AppendCall::Append(value) => Some([&**state, &**value].concat().into_boxed_str()),
        }
    }

    fn effect(&self, call: &AppendCall) -> Effect {
        match call {
            AppendCall::Get(_) => Effect::Observes,
            AppendCall::Put(_) => Effect::Overwrites,
            AppendCall::Append(_) => Effect::Changes,
        }
    }

    fn is_same(&self, a: &AppendCall, b: &AppendCall) -> bool {
        a == b
    }

    fn may_still_fit(&self, state: &Box<str>, call: &AppendCall) -> bool {
        match call {
            AppendCall::Get(value) => value.starts_with(&**state),
            AppendCall::Put(_) | AppendCall::Append(_) => true,
        }
    }
}
