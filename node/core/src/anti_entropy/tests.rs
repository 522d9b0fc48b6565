//! Two nodes in a room: every session ends in equal tables, or in abandonment.
