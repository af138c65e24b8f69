//! Scripts by which shells complete a command line: that of `kes`, and that of kestack.

use clap::Command;
use clap_complete::{generate, shells};
use clap_complete_nushell::Nushell;

/// The shells that there are scripts for.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
#[expect(missing_docs, reason = "their names say it, and help shows them without more")]
pub enum Shell {
    Bash,
    Elvish,
    Fish,
    Nushell,
    Powershell,
    Zsh,
}

impl Shell {
    /// The script for this shell.
    pub fn script(self, command: &mut Command) -> Vec<u8> {
        let (mut script, name) = (Vec::new(), command.get_name().to_owned());
        match self {
            Self::Bash => generate(shells::Bash, command, name, &mut script),
            Self::Elvish => generate(shells::Elvish, command, name, &mut script),
            Self::Fish => generate(shells::Fish, command, name, &mut script),
            Self::Nushell => generate(Nushell, command, name, &mut script),
            Self::Powershell => generate(shells::PowerShell, command, name, &mut script),
            Self::Zsh => generate(shells::Zsh, command, name, &mut script),
        }
        script
    }
}
