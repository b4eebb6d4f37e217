package server

// Held returns the bytes that the server's requests have reserved.
func Held(s *Server) int64 { return s.room.Stats().Held }

// WaitingForMemory returns how many requests wait for others to give memory back.
func WaitingForMemory(s *Server) int { return s.room.Stats().Waiting }
