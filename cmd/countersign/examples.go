package main

// What commands with no more to say show after their flags: one sentence, and how they are typed.

// Help is shown after the flags.
func (printCmd) Help() string {
	return `What is printed can be used as a file of settings, once its secrets are filled in.

  countersign config print --config /etc/countersign.toml
  countersign config print --markdown`
}

// Help is shown after the flags.
func (checkCmd) Help() string {
	return `Needs no database, and exits with 2 if something is wrong.

  countersign config check --config /etc/countersign.toml`
}

// Help is shown after the flags.
func (lockCmd) Help() string {
	return `Whoever tries to sign in then is told what a wrong password is told.

  countersign account lock ada@example.org`
}

// Help is shown after the flags.
func (unlockCmd) Help() string {
	return `Clears the counts of wrong passwords and codes as well.

  countersign account unlock ada@example.org`
}

// Help is shown after the flags.
func (closeCmd) Help() string {
	return `Ends its sessions. Nobody can open it again.

  countersign account close ada@example.org --yes`
}

// Help is shown after the flags.
func (errorsCmd) Help() string {
	return `What each means, and what to do.

  countersign errors
  countersign errors --markdown`
}

// Help is shown after the flags.
func (versionCmd) Help() string {
	return `Name it when you report a fault.

  countersign version`
}
