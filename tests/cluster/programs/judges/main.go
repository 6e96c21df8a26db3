// Command igpo-judges asks the libraries that GitOps tools use what they think of objects. It reads JSON from stdin and
// writes JSON to stdout:
//
//	igpo-judges kstatus   an object or a list of objects      -> a list of {"status", "message"}
//	igpo-judges argodiff  {"pairs": [{"git", "live"}, ...]}   -> a list of {"modified", "diff"}, the diff as a merge patch
//	igpo-judges lua       {"script": text, "objects": [...]}  -> a list of what Argo CD's script says of each
//
// argodiff compares as Argo CD does by itself (three-way). A pair of "mode": "StructuredMerge" needs "openapi" beside
// "pairs", what the API server serves as /openapi/v2; one of "ServerSide" also "predicted", the answer to a server-side apply
// by the manager argocd-controller that is not kept.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type verdict struct {
	Status  status.Status `json:"status"`
	Message string        `json:"message"`
}

func main() {
	answer, err := judge()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(answer)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "igpo-judges:", err)
		os.Exit(1)
	}
}

func judge() (any, error) {
	question, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	if len(os.Args) != 2 {
		return nil, fmt.Errorf("want one command, kstatus, argodiff or lua; got %d", len(os.Args)-1)
	}
	switch os.Args[1] {
	case "kstatus":
		return kstatus(question)
	case "argodiff":
		return argodiff(question)
	case "lua":
		return runLua(question)
	}
	return nil, fmt.Errorf("no command %q; want kstatus, argodiff or lua", os.Args[1])
}

func kstatus(question []byte) ([]verdict, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(question), []byte("[")) {
		question = bytes.Join([][]byte{[]byte("["), question, []byte("]")}, nil)
	}
	objects := []unstructured.Unstructured{} // which keeps whole numbers whole
	if err := json.Unmarshal(question, &objects); err != nil {
		return nil, err
	}
	verdicts := []verdict{}
	for number, object := range objects {
		result, err := status.Compute(&object)
		if err != nil {
			return nil, fmt.Errorf("object %d: %w", number, err)
		}
		verdicts = append(verdicts, verdict{Status: result.Status, Message: result.Message})
	}
	return verdicts, nil
}
