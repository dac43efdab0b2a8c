package post_test

import (
	"strings"
	"testing"

	"countersign/internal/courier/post"
)

// Whoever can have us call an address, or have a name point there, must not reach what a cloud tells this machine alone.
func TestAddressesOfTheLinkAreNotCalled(t *testing.T) {
	for _, host := range []string{
		"169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1%25lo]", "[fd00:ec2::254]", "100.100.100.200", "224.0.0.1", "0.0.0.0", "[::]",
	} {
		address := "https://" + host + "/latest/meta-data/"
		client, err := post.New("webhook", address, nil)
		if err != nil {
			t.Fatal(host, err)
		}
		if _, _, err := client.Do(t.Context(), address, map[string][]string{}, nil); err == nil || !strings.Contains(err.Error(), "are not called") {
			t.Errorf("%s: %v", host, err)
		}
	}
}
