// Package memory bounds the bytes that requests hold together. It knows sizes
// and turns; it knows neither HTTP nor what the bytes are.
//
// A request reserves with [Room.Reserve] before it takes memory, asks for more
// with [Hold.Resize] when it turns out larger, and gives all of it back with
// [Hold.Release]. What does not fit waits: who holds something already goes
// before who holds nothing, the oldest first, and newcomers are served in the
// order in which they came. The caller's context bounds the wait.
//
// Two things could stop such a line for ever or for long. Requests that each
// hold a part and wait for more would wait for each other: when all that hold
// memory wait for more, the youngest is refused ([ErrNoRoom]), whose loss is the
// least, until the others can go on. And a few large requests would keep out
// everybody: an eighth of the room is for small ones alone, which go to the
// rest when their own is full.
package memory
