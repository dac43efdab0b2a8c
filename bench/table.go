package main
import "errors"
var errMissed = errors.New("x")
