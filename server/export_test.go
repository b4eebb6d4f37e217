package server

import "net/http"

// Held returns the bytes that the server's requests have reserved.
func Held(s *Server) int64 { return s.room.Stats().Held }

// WaitingForMemory returns how many requests wait for others to give memory back.
func WaitingForMemory(s *Server) int { return s.room.Stats().Waiting }

// ClientOf returns the name under which the queue knows whose request r is.
func ClientOf(s *Server, r *http.Request) string { return s.clientOf(r) }

// MemoryLimit returns the bytes that the server's requests may hold together.
func MemoryLimit(s *Server) int64 { return s.room.Stats().Limit }

// Trace does what tracing does of a request, but for its answer.
func Trace(s *Server, r *http.Request) {
	l := &requestLog{}
	s.endSpan(s.traced(r.Context(), r, l), l, "POST", "/v1/reward")
}
