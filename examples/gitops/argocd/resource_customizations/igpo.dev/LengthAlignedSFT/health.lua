-- The status is that of kstatus: Reconciling and Stalled are there only when true. Ready comes with the first step, not with the end,
-- so that waves and waiting go on while a run trains for days.
if obj.status == nil or obj.status.conditions == nil then
  return {status = "Progressing", message = "waits for the operator to look at it"}
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "waits for the operator to see the last change"}
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end

local function is(name)
  return conditions[name] ~= nil and conditions[name].status == "True"
end

local message = obj.status.message
if is("Failed") or is("Stalled") then
  return {status = "Degraded", message = message}
end
if is("Suspended") then
  return {status = "Suspended", message = message}
end
if is("Complete") or is("Ready") then
  local verdict = conditions["TrainingHealthy"]
  if verdict ~= nil and verdict.status == "False" then
    message = message .. "; not healthy: " .. verdict.message
  end
  return {status = "Healthy", message = message}
end
return {status = "Progressing", message = message}
