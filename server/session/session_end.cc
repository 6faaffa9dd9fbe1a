// How a session loses its stream, and how it ends.
#include <utility>

#include "server/session/session.h"

namespace waitd::server {

void Session::Broken(const Link& link) {
  std::shared_ptr<Link> former;
  std::vector<std::unique_ptr<SessionOperation>> unwritten;
  bool gone = false;
  {
    const core::MutexLock lock(mutex_);
    if (link_.get() != &link) return;
    NoteLate();
    former = std::exchange(link_, nullptr);
    connected_.store(false, std::memory_order_relaxed);
    writing_ = half_closed_ = false;
    control_.reset();
    broken_ = context_.clock.Read().mono;
    gone = ended_;
    if (ended_) unwritten = TakeUnwritten();
  }
  GiveBack(unwritten);
  if (gone) Gone();
}

// The stream goes while a response is being written: its Written says what came of that.
void Session::NoteLate() {
  if (!writing_ || written_ == 0) return;
  late_link_ = link_.get();
  late_ = written_;
}

// What goes back at the end. What is being written may yet be: then it is spent.
std::vector<std::unique_ptr<SessionOperation>> Session::TakeUnwritten() {
  std::vector<std::unique_ptr<SessionOperation>> unwritten;
  for (Response& response : responses_) {
    if (writing_ && response.sequence == written_) continue;
    if (late_link_ != nullptr && response.sequence == late_) continue;
    for (auto& each : response.unwritten) unwritten.push_back(std::move(each));
    response.unwritten.clear();
  }
  return unwritten;
}

void Session::End(const std::optional<Error>& error) {
  {
    const core::MutexLock lock(mutex_);
    if (std::exchange(ended_, true)) return;
    error_ = error;
  }
  Leave();
}

// Once, by who ended it.
void Session::Leave() {
  const std::shared_ptr<Session> self = shared_from_this();
  const core::MutexLock work(work_);  // what is being carried out is in the core by then
  std::vector<core::Parkable*> parked;
  std::optional<Error> error;
  {
    const core::MutexLock lock(mutex_);
    error = error_;
    for (SessionOperation* const each : parking_) parked.push_back(each->parkable());
    ++pins_;
  }
  for (core::Parkable* each : parked) context_.poller.Cancel(*each);
  std::vector<std::unique_ptr<SessionOperation>> unwritten;
  std::shared_ptr<Link> link;
  {
    const core::MutexLock lock(mutex_);
    --pins_;
    unwritten = TakeUnwritten();
    for (auto& each : outbox_) unwritten.push_back(std::move(each));
    outbox_.clear();
    if (!writing_) link = std::exchange(link_, nullptr);
    left_ = true;
  }
  GiveBack(unwritten);
  CloseEphemeral();
  if (link != nullptr) link->End(error);
  Gone();
}

// When it has left, and its stream, too, which holds what is not written: until then it counts.
void Session::Gone() {
  {
    const core::MutexLock lock(mutex_);
    if (!left_ || link_ != nullptr || std::exchange(gone_, true)) return;
  }
  context_.ended(*this);
}

void Session::GiveBack(const std::vector<std::unique_ptr<SessionOperation>>& operations) {
  for (const auto& each : operations) each->GiveBack(context_.poller);
}

void Session::CloseEphemeral() {
  struct Call final : core::CloseCall {
    void Done() override { delete this; }
  };
  for (const std::string& name : std::exchange(ephemeral_, {})) {
    const core::CloseArgs args{.name = name, .session = number_};
    context_.poller.Close(core::kWhenCarriedOut, args, *new Call);
  }
}

}  // namespace waitd::server
