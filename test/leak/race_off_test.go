//go:build !race

package leak_test

const raced = false
