//! Planted bugs of the data plane, each with a scenario that a correct node passes and the bug does not.
