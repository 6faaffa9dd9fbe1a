// The peer: what Go's network poller and timers cost for the same things, measured by its own
// benchmark harness in the same run.
package peer

import (
	"net"
	"testing"
	"time"
)

func connection(b *testing.B) net.Conn {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	return conn
}

// Cleared and armed in turn: two calls an iteration.
func BenchmarkSetReadDeadlineArmed(b *testing.B) {
	conn := connection(b)
	defer conn.Close()
	for i := 0; i < b.N; i++ {
		conn.SetReadDeadline(time.Time{})
		conn.SetReadDeadline(time.Now().Add(time.Hour))
	}
}

// Each deadline later than the one before.
func BenchmarkSetReadDeadlineExtended(b *testing.B) {
	conn := connection(b)
	defer conn.Close()
	for i := 0; i < b.N; i++ {
		conn.SetReadDeadline(time.Now().Add(time.Hour))
	}
}

// A million armed timers, each moved in turn.
func BenchmarkTimerResetAmongMillion(b *testing.B) {
	timers := make([]*time.Timer, 1000000)
	for i := range timers {
		timers[i] = time.NewTimer(time.Hour)
	}
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		timers[i%len(timers)].Reset(time.Hour)
	}
	b.StopTimer()
	for _, timer := range timers {
		timer.Stop()
	}
}

// A million armed timers, one of them moved again and again.
func BenchmarkTimerResetOneAmongMillion(b *testing.B) {
	timers := make([]*time.Timer, 1000000)
	for i := range timers {
		timers[i] = time.NewTimer(time.Hour)
	}
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		timers[len(timers)/2].Reset(time.Hour)
	}
	b.StopTimer()
	for _, timer := range timers {
		timer.Stop()
	}
}
