//! Finds a campaign by name or path.

use std::path::{Path, PathBuf};

use super::mistakes::Mistakes;
use super::parse::parse;
use super::reader::join;
use super::types::Campaign;
use crate::input::read_text;

/// Largest campaign file, in bytes.
const FILE_SIZE_MAX: u64 = 1 << 20;

/// Why a campaign can't be used. All of these are the user's to mend: nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// Neither a name of one that ships nor a file.
    #[error(
        "there is no campaign `{name}`\n  allowed: {known}, or the path of a file\n  mend: run `hearsay list`, or check the path"
    )]
    Unknown {
        /// As asked for.
        name: String,
        /// Those that ship.
        known: String,
    },
    /// The file can't be read.
    #[error("the campaign file {} can't be read: {source}\n  mend: check the path and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no campaign.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

/// The campaign called `name_or_path`: one that ships when the name is known, otherwise a file.
///
/// # Errors
///
/// No such campaign or file, an unreadable file, or the mistakes in it.
pub fn load(name_or_path: &str) -> Result<Campaign, CampaignError> {
    if let Some(text) = hearsay_workloads::campaign(name_or_path) {
        return Ok(parse(&format!("{name_or_path}.yaml"), text)?);
    }
    let path = Path::new(name_or_path);
    let looks_like_a_path = name_or_path.contains('/') || path.extension().is_some() || path.exists();
    if !looks_like_a_path {
        let known = join(hearsay_workloads::campaigns().iter().map(|(name, _)| *name));
        return Err(CampaignError::Unknown { name: name_or_path.to_owned(), known });
    }
    let text =
        read_text(path, FILE_SIZE_MAX).map_err(|source| CampaignError::Unreadable { path: path.to_owned(), source })?;
    Ok(parse(name_or_path, &text)?)
}
