package seconddoor

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
)

const (
	// onceFor is how long a repetition gets the first call's answer: an application that was down over night repeats what it was at.
	onceFor = 24 * time.Hour
	// tryFor is how long a call may be under way: twice what the server gives any. After that its node is taken to be dead.
	tryFor = time.Minute
)

// Call is a call that its application gave a name (Idempotency-Key), so that it can make it again.
type Call struct {
	App, Name string
	Asked     string // all that the call asks for: the same name for anything else is a mistake
}

// Once does what a call asks for, unless the call was made within the last day: then it returns what came of it. Of any number of the same at
// once, on any nodes, one is done; the others are fault.Conflict "call_under_way". The same name for something else is fault.Invalid
// "call_differs". What do returns an error for may be tried again. A node that dies while it does leaves the call undecided: a repetition a minute
// later does it.
func (s *Service) Once(ctx context.Context, c Call, do func() (answer []byte, err error)) (answer []byte, err error) {
	t := try{
		name: s.Parts.Ring.Stable("seconddoor/call", c.App+"\x00"+c.Name), id: uuid.NewString(),
		asked: s.Parts.Ring.Stable("seconddoor/asked", c.Asked),
	}
	var mine bool
	err = s.Parts.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if mine, err = takeCall(ctx, tx, t); err != nil || mine {
			return err
		}
		answer, err = s.answered(ctx, tx, t)
		return err
	})
	if err != nil || !mine {
		return answer, err
	}
	answer, err = do()
	ctx = context.WithoutCancel(ctx) // who asked may have gone: it was done
	if err != nil {
		return nil, errors.Join(err, s.Parts.DB.Write(ctx, func(tx *sqldb.Tx) error { return dropCall(ctx, tx, t) }))
	}
	return answer, s.Parts.DB.Write(ctx, func(tx *sqldb.Tx) error {
		return answerCall(ctx, tx, t, s.Parts.Ring.Seal(answer, callPlace(t.id)))
	})
}

// answered returns what came of a call that somebody else took.
func (s *Service) answered(ctx context.Context, tx *sqldb.Tx, t try) ([]byte, error) {
	same, id, sealed, err := callOf(ctx, tx, t)
	switch {
	case err != nil:
		return nil, err
	case !same:
		return nil, fault.New(fault.Invalid, "call_differs", errors.New("the name stands for another call"))
	case sealed == nil:
		return nil, fault.New(fault.Conflict, "call_under_way", errors.New("the call is under way"))
	}
	return s.Parts.Ring.Open(sealed, callPlace(id))
}

func callColumn() keyring.Column {
	return keyring.Column{Table: "door_call", Keys: []string{"id"}, Name: "answer", Live: "expires_at > $1"}
}

func callPlace(id string) keyring.Place {
	return keyring.Place{Table: "door_call", Row: id, Column: "answer"}
}

// Holdings is what the tables have of the ring's keys.
func (s *Service) Holdings() []keyring.Holding {
	return []keyring.Holding{s.Parts.Ring.Sealed(callColumn())}
}
