//go:build race

package leak_test

const raced = true // the detector's own work drowns any difference
