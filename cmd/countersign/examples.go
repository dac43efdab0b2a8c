package main

// What the commands that need no further words show after their flags.

// Help is shown after the flags.
func (printCmd) Help() string {
	return `  countersign config print --config /etc/countersign.toml
  countersign config print --markdown`
}

// Help is shown after the flags.
func (checkCmd) Help() string {
	return `  countersign config check --config /etc/countersign.toml`
}

// Help is shown after the flags.
func (lockCmd) Help() string {
	return `  countersign account lock ada@example.org`
}

// Help is shown after the flags.
func (unlockCmd) Help() string {
	return `Clears the counts of wrong passwords and codes as well.

  countersign account unlock ada@example.org`
}

// Help is shown after the flags.
func (closeCmd) Help() string {
	return `  countersign account close ada@example.org --yes`
}

// Help is shown after the flags.
func (reviveCmd) Help() string {
	return `  countersign letters revive 0196f0c1-…`
}

// Help is shown after the flags.
func (errorsCmd) Help() string {
	return `  countersign errors
  countersign errors --markdown`
}

// Help is shown after the flags.
func (versionCmd) Help() string {
	return `  countersign version`
}
