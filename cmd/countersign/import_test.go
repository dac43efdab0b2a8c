package main

import "testing"

func TestNoIdInAReportIsAFormula(t *testing.T) {
	for id, want := range map[string]string{
		"=1+1": "'=1+1", "+49": "'+49", "-2": "'-2", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "\r=1": "'\r=1", "": "", "u-17": "u-17", "a=b": "a=b",
	} {
		if got := inert(id); got != want {
			t.Errorf("%q becomes %q", id, got)
		}
	}
}
