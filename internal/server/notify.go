package server

import (
	"net"
	"strconv"
	"time"
)

// Notifier returns what tells the service manager (systemd's sd_notify protocol) how we are, and
// how often it wants to hear from us. Without a service manager it returns nil.
func Notifier(getenv func(string) string) (notify func(state string), watchdog time.Duration) {
	socket := getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil, 0
	}
	if usec, err := strconv.Atoi(getenv("WATCHDOG_USEC")); err == nil {
		watchdog = time.Duration(usec) * time.Microsecond / 2 // twice as often as demanded
	}
	return func(state string) {
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
		if err != nil {
			return // nobody listens
		}
		_, _ = conn.Write([]byte(state))
		_ = conn.Close()
	}, watchdog
}
