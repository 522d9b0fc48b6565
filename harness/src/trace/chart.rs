//! A sequence chart as data: columns of lifelines, rows in the order of time. The renderers know nothing else.

/// The chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chart {
    /// Lines above it.
    pub title: Vec<String>,
    /// Names of the columns, clients first.
    pub columns: Vec<String>,
    /// In the order of time.
    pub rows: Vec<Row>,
    /// Lines below it.
    pub notes: Vec<String>,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Nanoseconds since the start of the run.
    pub time: u64,
    /// What is drawn.
    pub shape: Shape,
    /// What is said.
    pub text: String,
    /// What kind of thing it is.
    pub tone: Tone,
    /// How every column is, from this row on.
    pub lives: Vec<Life>,
}

/// What is drawn; numbers are columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A message leaves. `arrives`: nanoseconds since the start of the run; `None`: it never does.
    Arrow {
        /// Sender.
        from: usize,
        /// Receiver.
        to: usize,
        /// When it arrives.
        arrives: Option<u64>,
    },
    /// A message that left long before arrives.
    Arrival {
        /// Sender.
        from: usize,
        /// Receiver.
        to: usize,
    },
    /// Something happens at a column.
    Point(usize),
    /// Something about the whole cluster: a fault.
    Band,
    /// Nothing is shown for a while.
    Gap,
}

/// Kinds of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Between client and coordinator.
    Client,
    /// Work for an operation.
    Work,
    /// Repair, by reads or by anti-entropy.
    Repair,
    /// To and from the disk.
    Disk,
    /// Lost, hindered, given up, killed.
    Trouble,
    /// Around it: links, opinions, starts.
    Around,
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Up,
    /// It stands still.
    Paused,
    /// There is none.
    Down,
}
