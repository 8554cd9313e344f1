// SPDX-License-Identifier: LGPL-2.1-or-later
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	cgroup1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	cgroup2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var taskSteps = []step{
	{"run", runStep},
	{"stays", staysStep},
	{"terminal", terminalStep},
	{"container-update", updateStep},
	{"checkpoint", checkpointStep},
	{"task-errors", taskErrorsStep},
}

func (s *session) newContainer(ctx context.Context, id string, opts ...oci.SpecOpts) (containerd.Container, error) {
	return s.client.NewContainer(ctx, id, containerd.WithImage(s.image), containerd.WithNewSnapshot(id, s.image),
		containerd.WithNewSpec(append([]oci.SpecOpts{oci.WithImageConfig(s.image)}, opts...)...),
		containerd.WithContainerLabels(map[string]string{"made-by": "goclient"}))
}

func remove(ctx context.Context, container containerd.Container) error {
	return container.Delete(ctx, containerd.WithSnapshotCleanup)
}

// ended waits for the end of @process and takes what is left of it.
func ended(ctx context.Context, process containerd.Process, exits <-chan containerd.ExitStatus) (uint32, error) {
	select {
	case exit := <-exits:
		if exit.Error() != nil {
			return 0, exit.Error()
		}
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if io := process.IO(); io != nil {
		io.Wait()
	}
	status, err := process.Delete(ctx)
	if err != nil {
		return 0, err
	}
	return status.ExitCode(), nil
}

// runStep runs a program that ends by itself, with all three of its streams.
func runStep(ctx context.Context, s *session) (seen, error) {
	container, err := s.newContainer(ctx, "runs", oci.WithProcessArgs("sh", "-c", "cat; echo err >&2; exit 7"))
	if err != nil {
		return nil, err
	}
	var out, errs bytes.Buffer
	task, err := container.NewTask(ctx, cio.NewCreator(cio.WithFIFODir(s.dir), cio.WithStreams(strings.NewReader("from stdin"), &out, &errs)))
	if err != nil {
		return nil, errors.Join(err, remove(ctx, container))
	}
	created, err := task.Status(ctx)
	if err != nil {
		return nil, err
	}
	exits, err := task.Wait(ctx)
	if err != nil {
		return nil, err
	}
	if err := task.Start(ctx); err != nil {
		return nil, err
	}
	// The end of the stream goes on to the process only when told.
	if err := task.CloseIO(ctx, containerd.WithStdinCloser); err != nil {
		return nil, err
	}
	code, err := ended(ctx, task, exits)
	return seen{"created": created.Status, "out": out.String(), "err": errs.String(), "code": code, "pid": task.Pid() > 0},
		errors.Join(err, remove(ctx, container))
}

// staysStep does with a running container all that there is to do.
func staysStep(ctx context.Context, s *session) (seen, error) {
	container, err := s.newContainer(ctx, "stays", oci.WithProcessArgs("sleep", "1000"), oci.WithMemoryLimit(64<<20))
	if err != nil {
		return nil, err
	}
	task, err := container.NewTask(ctx, cio.NullIO)
	if err != nil {
		return nil, errors.Join(err, remove(ctx, container))
	}
	exits, err := task.Wait(ctx)
	if err != nil {
		return nil, err
	}
	if err := task.Start(ctx); err != nil {
		return nil, err
	}
	what := seen{}
	for _, part := range []func(context.Context, *session, containerd.Container, containerd.Task, seen) error{
		statusPart, execPart, killExecPart, metricsPart, pausePart, taskUpdatePart, reloadPart, waitPart,
	} {
		if err := part(ctx, s, container, task, what); err != nil {
			_, deleted := task.Delete(ctx, containerd.WithProcessKill)
			return what, errors.Join(err, deleted, remove(ctx, container))
		}
	}
	_, running := task.Delete(ctx)
	what["delete-running"] = errdefs.IsFailedPrecondition(running)
	what["remove-running"] = errdefs.IsFailedPrecondition(remove(ctx, container))
	if err := task.Kill(ctx, syscall.SIGKILL, containerd.WithKillAll); err != nil {
		return what, err
	}
	code, err := ended(ctx, task, exits)
	what["code"] = code
	return what, errors.Join(err, remove(ctx, container))
}

func statusPart(ctx context.Context, s *session, container containerd.Container, task containerd.Task, what seen) error {
	status, err := task.Status(ctx)
	if err != nil {
		return err
	}
	spec, err := task.Spec(ctx)
	if err != nil {
		return err
	}
	pids, err := task.Pids(ctx)
	if err != nil {
		return err
	}
	labels, err := container.Labels(ctx)
	if err != nil {
		return err
	}
	list, err := s.client.Containers(ctx, `labels."made-by"==goclient`)
	what["status"], what["args"], what["env"] = status.Status, spec.Process.Args, spec.Process.Env
	what["pids"] = len(pids) == 1 && pids[0].Pid == task.Pid()
	what["image-label"], what["listed"] = labels["made-by"], len(list)
	return err
}

func execPart(ctx context.Context, s *session, container containerd.Container, task containerd.Task, what seen) error {
	spec, err := task.Spec(ctx)
	if err != nil {
		return err
	}
	process := *spec.Process
	process.Args = []string{"sh", "-c", "read line; echo got $line; exit 5"}
	var out bytes.Buffer
	one, err := task.Exec(ctx, "exec-1", &process, cio.NewCreator(cio.WithFIFODir(s.dir), cio.WithStreams(strings.NewReader("a line\n"), &out, io.Discard)))
	if err != nil {
		return err
	}
	exits, err := one.Wait(ctx)
	if err != nil {
		return err
	}
	if err := one.Start(ctx); err != nil {
		return err
	}
	code, err := ended(ctx, one, exits)
	what["exec-code"], what["exec-out"] = code, out.String()
	return err
}

func killExecPart(ctx context.Context, s *session, container containerd.Container, task containerd.Task, what seen) error {
	spec, err := task.Spec(ctx)
	if err != nil {
		return err
	}
	process := *spec.Process
	process.Args = []string{"sleep", "1000"}
	one, err := task.Exec(ctx, "exec-2", &process, cio.NullIO)
	if err != nil {
		return err
	}
	exits, err := one.Wait(ctx)
	if err != nil {
		return err
	}
	if err := one.Start(ctx); err != nil {
		return err
	}
	_, taken := task.Exec(ctx, "exec-2", &process, cio.NullIO)
	what["exec-taken"] = errdefs.IsAlreadyExists(taken)
	loaded, err := task.LoadProcess(ctx, "exec-2", nil)
	if err != nil {
		return err
	}
	pids, err := task.Pids(ctx)
	if err != nil {
		return err
	}
	what["pids-with-exec"], what["loaded"] = len(pids), loaded.ID() == one.ID()
	if err := one.Kill(ctx, syscall.SIGTERM); err != nil {
		return err
	}
	code, err := ended(ctx, one, exits)
	what["killed-exec"] = code
	return err
}

func metricsPart(ctx context.Context, s *session, container containerd.Container, task containerd.Task, what seen) error {
	metric, err := task.Metrics(ctx)
	if err != nil {
		return err
	}
	data, err := typeurl.UnmarshalAny(metric.Data)
	if err != nil {
		return err
	}
	what["metric-id"] = metric.ID
	switch m := data.(type) {
	case *cgroup1.Metrics:
		what["memory"], what["limit"], what["pids-now"] = m.Memory.Usage.Usage > 0, m.Memory.Usage.Limit, m.Pids.Current
	case *cgroup2.Metrics:
		what["memory"], what["limit"], what["pids-now"] = m.Memory.Usage > 0, m.Memory.UsageLimit, m.Pids.Current
	default:
		return fmt.Errorf("metrics are a %T", data)
	}
	return nil
}

func pausePart(ctx context.Context, s *session, container containerd.Container, task containerd.Task, what seen) error {
	if err := task.Pause(ctx); err != nil {
		return err
	}
	paused, err := task.Status(ctx)
	if err != nil {
		return err
	}
	if err := task.Resume(ctx); err != nil {
		return err
	}
	resumed, err := task.Status(ctx)
	what["paused"], what["resumed"] = paused.Status, resumed.Status
	return err
}

func taskUpdatePart(ctx context.Context, s *session, container containerd.Container, task containerd.Task, what seen) error {
	limit := int64(128 << 20)
	if err := task.Update(ctx, containerd.WithResources(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &limit}})); err != nil {
		return err
	}
	after := seen{}
	if err := metricsPart(ctx, s, container, task, after); err != nil {
		return err
	}
	what["new-limit"] = after["limit"]
	return nil
}

// reloadPart finds the container and its task again, as a client that starts anew does.
func reloadPart(ctx context.Context, s *session, container containerd.Container, task containerd.Task, what seen) error {
	again, err := s.client.LoadContainer(ctx, container.ID())
	if err != nil {
		return err
	}
	image, err := again.Image(ctx)
	if err != nil {
		return err
	}
	found, err := again.Task(ctx, nil)
	if err != nil {
		return err
	}
	what["reloaded"], what["reloaded-image"] = found.Pid() == task.Pid(), image.Name() == s.ref
	return nil
}

// waitPart waits no longer than it may.
func waitPart(ctx context.Context, s *session, container containerd.Container, task containerd.Task, what seen) error {
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	_, err := s.client.TaskService().Wait(short, &tasks.WaitRequest{ContainerID: task.ID()})
	what["wait-late"] = errdefs.IsDeadlineExceeded(errgrpc.ToNative(err))
	return nil
}

func terminalStep(ctx context.Context, s *session) (seen, error) {
	container, err := s.newContainer(ctx, "types", oci.WithTTY, oci.WithProcessArgs("sh", "-c", "while read what; do eval $what; done"))
	if err != nil {
		return nil, err
	}
	input, typed := io.Pipe()
	shown, output := io.Pipe()
	task, err := container.NewTask(ctx, cio.NewCreator(cio.WithFIFODir(s.dir), cio.WithStreams(input, output, nil), cio.WithTerminal))
	if err != nil {
		return nil, errors.Join(err, remove(ctx, container))
	}
	exits, err := task.Wait(ctx)
	if err != nil {
		return nil, err
	}
	if err := task.Start(ctx); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(shown)
	what := seen{}
	ask := func(key, question string) {
		io.WriteString(typed, question+"\n")
		// The terminal shows the question before the answer.
		for lines.Scan() {
			if line := strings.TrimSpace(lines.Text()); line != question {
				what[key] = line
				return
			}
		}
	}
	ask("tty", "tty")
	if err := task.Resize(ctx, 132, 43); err != nil {
		return what, err
	}
	ask("size", "stty size")
	go io.Copy(io.Discard, shown)
	io.WriteString(typed, "exit 3\n")
	typed.Close()
	what["code"], err = ended(ctx, task, exits)
	return what, errors.Join(err, remove(ctx, container))
}

// updateStep changes a container by its fields; what is not named stays.
func updateStep(ctx context.Context, s *session) (seen, error) {
	container, err := s.newContainer(ctx, "changes")
	if err != nil {
		return nil, err
	}
	before, err := container.Info(ctx)
	if err != nil {
		return nil, err
	}
	if err := container.Update(ctx, func(_ context.Context, _ *containerd.Client, c *containers.Container) error {
		c.Labels["updated"] = "yes"
		return containerd.WithContainerExtension("cpu", &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0"}})(ctx, s.client, c)
	}); err != nil {
		return nil, err
	}
	labels, err := container.SetLabels(ctx, map[string]string{"more": "1"})
	if err != nil {
		return nil, err
	}
	extensions, err := container.Extensions(ctx)
	if err != nil {
		return nil, err
	}
	masked, err := s.client.ContainerService().Update(ctx, containers.Container{ID: "changes", Image: "ignored", Labels: map[string]string{"more": "2"}},
		"labels.more")
	if err != nil {
		return nil, err
	}
	_, immutable := s.client.ContainerService().Update(ctx, containers.Container{ID: "changes", Runtime: containers.RuntimeInfo{Name: "x"}}, "runtime")
	_, noTask := container.Task(ctx, nil)
	var text string
	if immutable != nil {
		text = immutable.Error()
	}
	return seen{"labels": labels, "extension": extensions["cpu"] != nil, "masked": masked.Labels["more"], "image": masked.Image == s.ref,
		"spec": bytes.Equal(masked.Spec.GetValue(), before.Spec.GetValue()), "later": masked.UpdatedAt.After(before.UpdatedAt),
		"runtime": masked.Runtime.Name, "immutable": text, "no-task": errdefs.IsNotFound(noTask)}, remove(ctx, container)
}

// checkpointStep takes checkpoints of what does not need criu, and sees what is said of what does.
func checkpointStep(ctx context.Context, s *session) (seen, error) {
	container, err := s.newContainer(ctx, "checks", oci.WithProcessArgs("sleep", "1000"))
	if err != nil {
		return nil, err
	}
	task, err := container.NewTask(ctx, cio.NullIO)
	if err != nil {
		return nil, errors.Join(err, remove(ctx, container))
	}
	exits, err := task.Wait(ctx)
	if err != nil {
		return nil, err
	}
	if err := task.Start(ctx); err != nil {
		return nil, err
	}
	what := seen{}
	image, err := container.Checkpoint(ctx, "example.com/checkpoint:1", containerd.WithCheckpointImage, containerd.WithCheckpointRW,
		containerd.WithCheckpointRuntime)
	if err == nil {
		what["image"] = image.Name()
		err = s.restore(ctx, image, what)
	}
	whole, failed := task.Checkpoint(ctx, containerd.WithCheckpointName("example.com/checkpoint:2"))
	what["criu"] = whole != nil
	if failed != nil {
		what["criu-error"] = failed.Error()
	}
	status, statusErr := task.Status(ctx)
	what["status"] = status.Status
	killed := task.Kill(ctx, syscall.SIGKILL)
	if killed == nil {
		_, killed = ended(ctx, task, exits)
	}
	return what, errors.Join(err, statusErr, killed, remove(ctx, container), s.client.ImageService().Delete(ctx, "example.com/checkpoint:1"))
}

// withSpec stands for the specification, which only a checkpoint of a task brings along.
func withSpec(context.Context, string, *containerd.Client, containerd.Image, *ocispec.Index) containerd.NewContainerOpts {
	return containerd.WithNewSpec()
}

func (s *session) restore(ctx context.Context, checkpoint containerd.Image, what seen) error {
	restored, err := s.client.Restore(ctx, "restored", checkpoint, containerd.WithRestoreImage, containerd.WithRestoreRuntime, containerd.WithRestoreRW, withSpec)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	info, err := restored.Info(ctx)
	what["restored"] = info.Image == s.ref && info.SnapshotKey != ""
	return errors.Join(err, remove(ctx, restored))
}

func taskErrorsStep(ctx context.Context, s *session) (seen, error) {
	_, missing := s.client.LoadContainer(ctx, "nobody")
	container, err := s.newContainer(ctx, "fails", oci.WithProcessArgs("no-such-program"))
	if err != nil {
		return nil, err
	}
	_, taken := s.client.NewContainer(ctx, "fails", containerd.WithNewSpec())
	_, invalid := s.client.NewContainer(ctx, "not/valid", containerd.WithNewSpec())
	task, failed := container.NewTask(ctx, cio.NullIO)
	if failed == nil {
		failed = task.Start(ctx)
		_, deleted := task.Delete(ctx)
		err = errors.Join(err, deleted)
	}
	text := ""
	if failed != nil {
		text = failed.Error()
	}
	return seen{"missing": errdefs.IsNotFound(missing), "taken": errdefs.IsAlreadyExists(taken), "invalid": errdefs.IsInvalidArgument(invalid),
		"failed": text}, errors.Join(err, remove(ctx, container))
}
