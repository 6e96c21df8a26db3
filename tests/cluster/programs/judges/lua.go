package main

import (
	"encoding/json"
	"fmt"

	lua "github.com/yuin/gopher-lua"
)

// runLua runs one script on each object, as Argo CD runs health checks and actions: the object is the global obj, and there
// are the libraries package, base, table and os. What the scripts return comes back.
func runLua(question []byte) ([]any, error) {
	var asked struct {
		Script  string
		Objects []map[string]any
	}
	if err := json.Unmarshal(question, &asked); err != nil {
		return nil, err
	}
	answers := []any{}
	for number, object := range asked.Objects {
		answer, err := runScript(asked.Script, object)
		if err != nil {
			return nil, fmt.Errorf("object %d: %w", number, err)
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

func runScript(script string, object map[string]any) (any, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
		lua.OsLibName:   lua.OpenOs,
	} {
		call := lua.P{Fn: state.NewFunction(open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	if state.GetTop() != 1 {
		return nil, fmt.Errorf("the script returns %d values; want one", state.GetTop())
	}
	return fromLua(state.Get(1)), nil
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		list := state.CreateTable(len(value), 0)
		for _, one := range value {
			list.Append(toLua(state, one))
		}
		return list
	case map[string]any:
		table := state.CreateTable(0, len(value))
		for key, one := range value {
			table.RawSetString(key, toLua(state, one))
		}
		return table
	}
	return lua.LNil
}

func fromLua(value lua.LValue) any {
	switch value := value.(type) {
	case lua.LBool:
		return bool(value)
	case lua.LNumber:
		return float64(value)
	case lua.LString:
		return string(value)
	case *lua.LTable:
		if length := value.MaxN(); length > 0 {
			list := make([]any, length)
			for at := range list {
				list[at] = fromLua(value.RawGetInt(at + 1))
			}
			return list
		}
		table := map[string]any{}
		value.ForEach(func(key, one lua.LValue) { table[key.String()] = fromLua(one) })
		return table
	}
	return nil
}
