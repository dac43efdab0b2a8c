package main
type helperCmd struct{}
func (helperCmd) Run(w *world) error { return nil }
type runCmd struct{}
func (runCmd) Run(w *world) error { return errMissed }
