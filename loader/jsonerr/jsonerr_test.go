package jsonerr

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTypeErrorsNameTheKeyWhatItHoldsAndWhatIsWanted(t *testing.T) {
	var into struct {
		Labels map[string]string  `json:"id2label"`
		Size   *int               `json:"hidden_size"`
		Eps    float64            `json:"rms_norm_eps"`
		Bias   bool               `json:"attention_bias"`
		Names  []string           `json:"architectures"`
		Nested struct{ A []bool } `json:"nested"`
	}
	for text, want := range map[string]string{
		`{"id2label":{"0":0.5}}`:    `id2label: holds a number where a string is wanted`,
		`{"id2label":[]}`:           `id2label: holds a list where an object is wanted`,
		`{"hidden_size":"64"}`:      `hidden_size: holds a string where a whole number is wanted`,
		`{"hidden_size":64.5}`:      `hidden_size: holds the number 64.5 where a whole number is wanted`,
		`{"rms_norm_eps":"1e-6"}`:   `rms_norm_eps: holds a string where a number is wanted`,
		`{"attention_bias":0}`:      `attention_bias: holds a number where true or false is wanted`,
		`{"architectures":"Llama"}`: `architectures: holds a string where a list is wanted`,
		`{"architectures":[{}]}`:    `architectures: holds an object where a string is wanted`,
		`{"nested":{"A":true}}`:     `nested.A: holds true or false where a list is wanted`,
		`[]`:                        `it holds a list where an object is wanted`,
	} {
		err := WrongType(json.Unmarshal([]byte(text), &into))
		require.Error(t, err, text)
		assert.Equal(t, want, err.Error())
		assert.NotContains(t, err.Error(), "Go ")
	}
	other := errors.New("other")
	assert.Equal(t, other, WrongType(other))
	assert.NoError(t, WrongType(nil))
	around := WrongType(fmt.Errorf("model: %w", errors.Join(other, json.Unmarshal([]byte(`{"hidden_size":"64"}`), &into))))
	assert.EqualError(t, around, "model: other\nhidden_size: holds a string where a whole number is wanted")
	assert.ErrorIs(t, around, other)
}
