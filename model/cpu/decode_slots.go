package cpu

// slots says which answers a [Decoder] continues and where in its cache they lie:
// a region for each prompt that is in use, one for each answer.
type slots struct {
	longest, most int // rows of a prompt's and of an answer's region

	active  []answer // in the order of their numbers: neighbours share a prompt
	ended   []bool   // of active, after a step
	prompts []prompt // by region
	places  []int    // free regions for answers
	next    int      // number of the first answer that has not begun
	fresh   []prompt // those that the last fill began
}

// answer is a text that is being continued.
type answer struct {
	answer int // its number
	prompt int // region of the prompt
	place  int // region of its own
	row, n int // first row of the region, and how many it has read
	next   int32
}

// prompt is the beginning that some answers share.
type prompt struct {
	number int
	ids    []int32
	row    int
	users  int // answers being continued; 0 for a free region
}

func newSlots(n, longest, most int) *slots {
	s := &slots{longest: longest, most: most, prompts: make([]prompt, n)}
	for i := range n {
		s.places = append(s.places, n-1-i)
		s.prompts[i].number = -1
	}
	return s
}

// rows returns how many rows of the cache all regions take.
func (s *slots) rows() int { return len(s.prompts) * (s.longest + s.most) }

// fill begins answers in all free regions and returns the prompts that were not
// there yet.
func (s *slots) fill(prompts [][]int32, answers int) []prompt {
	s.fresh = s.fresh[:0]
	for len(s.places) > 0 && s.next < len(prompts)*answers {
		number := s.next / answers
		region := s.region(number)
		p := &s.prompts[region]
		if p.users == 0 {
			*p = prompt{number: number, ids: prompts[number], row: region * s.longest}
			s.fresh = append(s.fresh, *p)
		}
		p.users++
		place := s.places[len(s.places)-1]
		s.places = s.places[:len(s.places)-1]
		s.active = append(s.active, answer{
			answer: s.next, prompt: region, place: place,
			row: len(s.prompts)*s.longest + place*s.most, next: p.ids[len(p.ids)-1],
		})
		s.next++
	}
	return s.fresh
}

// region returns where a prompt lies or may be put. There is always one: no more
// prompts are in use than answers.
func (s *slots) region(number int) int {
	free := -1
	for i := range s.prompts {
		switch p := &s.prompts[i]; {
		case p.users > 0 && p.number == number:
			return i
		case p.users == 0 && free < 0:
			free = i
		}
	}
	return free
}

// drop takes out the answers that ended or are full.
func (s *slots) drop() {
	kept := s.active[:0]
	for i, a := range s.active {
		if !s.ended[i] && a.n < s.most {
			kept = append(kept, a)
			continue
		}
		s.places = append(s.places, a.place)
		s.prompts[a.prompt].users--
	}
	s.active = kept
}
