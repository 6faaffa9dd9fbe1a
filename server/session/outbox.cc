#include "server/session/outbox.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace waitd::server {
namespace {

constexpr size_t kResponseBytesMax = size_t{1} << 20;  // about; what clients receive is 4 MiB
constexpr size_t kResultBytes = 1024;                  // larger results count as several

grpc::ByteBuffer Encode(const v1::SessionResponse& message, size_t* size) {
  *size = message.ByteSizeLong();
  grpc::Slice slice(*size);
  // A slice is made to be filled; its pointer is const for who receives it.
  auto* const bytes = const_cast<uint8_t*>(slice.begin());
  message.SerializeWithCachedSizesToArray(bytes);
  return {&slice, 1};
}

uint64_t WeightOf(uint64_t results, size_t bytes) {
  return std::max<uint64_t>(results, bytes / kResultBytes);
}

}  // namespace

void Outbox::Add(std::unique_ptr<SessionOperation> operation) {
  WAITD_CHECK(!over_, "a result comes after the session's end");
  bytes_.waiting += operation->size();
  (operation->parkable() != nullptr ? held_waits_ : held_calls_) += operation->held();
  waiting_.push_back(std::move(operation));
}

void Outbox::Begin(const void* link, const v1::SessionResponse& message) {
  link_ = link;
  next_ = responses_.empty() ? sequence_ + 1 : responses_.front().sequence;
  bytes_.unwritten += std::exchange(bytes_.written, 0);
  Say(message);
}

void Outbox::Say(const v1::SessionResponse& message) {
  size_t size = 0;
  message_ = Encode(message, &size);
}

std::optional<grpc::ByteBuffer> Outbox::Next(Room room) {
  if (over_) return std::nullopt;
  // What they stand on is soon needed again; but for a slow reader, to whom a signal is shared
  // memory only as long as it is not copied for each.
  while (waiting_.size() >= kBatch && bytes_.unwritten < kUnwrittenBytesMax && Compose(room)) {
  }
  if (link_ == nullptr || writing()) return std::nullopt;
  if (message_.has_value()) {
    writes_.push_back({link_, 0});
    return std::exchange(message_, std::nullopt);
  }
  if (next_ > sequence_ && (waiting_.empty() || !Compose(room))) return std::nullopt;
  writes_.push_back({link_, next_});
  written_through_ = std::max(written_through_, next_);
  return Find(next_)->bytes;
}

// What waits becomes a response, as much as fits into one, or one result alone. False: there is no
// room even for that.
bool Outbox::Compose(Room room) {
  size_t most = kResponseBytesMax;
  if (!room(std::min(bytes_.waiting, most + waiting_.front()->size()))) {
    if (!room(waiting_.front()->size())) return false;
    most = 1;
  }
  google::protobuf::Arena arena;
  auto& message = *google::protobuf::Arena::CreateMessage<v1::SessionResponse>(&arena);
  Response& response = responses_.emplace_back();
  const core::Now now = clock_.Read();
  size_t bytes = 0;
  while (!waiting_.empty() && bytes < most) {
    std::unique_ptr<SessionOperation> operation = std::move(waiting_.front());
    waiting_.pop_front();
    const size_t size = operation->size();
    bytes += size;
    v1::OperationResult& result = *message.add_results();
    result.set_id(operation->id());
    operation->Write(now, metrics_, result);
    const size_t held = operation->held();
    if (operation->parkable() == nullptr) {
      held_calls_ -= held;
    } else {
      held_waits_ -= held;
      response.held += held;
      response.kept += size;
      ++returns_;
      response.returns.push_back(std::move(operation));
    }
  }
  response.sequence = ++sequence_;
  message.set_sequence(response.sequence);
  response.bytes = Encode(message, &response.size);
  response.weight = WeightOf(static_cast<uint64_t>(message.results_size()), response.size);
  weight_ += response.weight;
  bytes_.waiting -= bytes;
  bytes_.unwritten += response.size;
  bytes_.kept += response.kept;
  held_returns_ += response.held;
  return true;
}

Outbox::Decided Outbox::Written(const void* link, bool ok) {
  const auto write = std::find_if(writes_.begin(), writes_.end(),
                                  [&](const Write& each) { return each.link == link; });
  WAITD_CHECK(write != writes_.end(), "a write ends that never began");
  const uint64_t sequence = write->sequence;
  writes_.erase(write);
  Response* const response = Find(sequence);
  if (response == nullptr) return {};  // without a number, or acknowledged meanwhile
  if (ok) {
    if (link == link_ && sequence == next_) {
      ++next_;
      bytes_.unwritten -= response->size;
      bytes_.written += response->size;
    }
    return {.spent = Release(*response), .back = {}};
  }
  if (!over_ || BeingWritten(sequence)) return {};
  return {.spent = {}, .back = Release(*response)};
}

bool Outbox::Acknowledge(uint64_t sequence, std::vector<Response>* gone) {
  if (sequence > written_through_) return false;
  while (!responses_.empty() && responses_.front().sequence <= sequence) {
    Response& first = responses_.front();
    weight_ -= first.weight;
    bytes_.kept -= first.kept;
    held_returns_ -= first.held;
    returns_ -= first.returns.size();
    if (first.sequence >= next_) {  // written on a former link, or its Written is on its way
      bytes_.unwritten -= first.size;
      next_ = first.sequence + 1;
    } else {
      bytes_.written -= first.size;
    }
    gone->push_back(std::move(first));
    responses_.pop_front();
  }
  return true;
}

Outbox::Operations Outbox::TakeBack() {
  over_ = true;
  Operations back;
  for (Response& response : responses_) {
    if (BeingWritten(response.sequence)) continue;  // then it is spent, or comes back by Written
    for (auto& each : Release(response)) back.push_back(std::move(each));
  }
  for (auto& each : waiting_) back.push_back(std::move(each));
  waiting_.clear();
  bytes_.waiting = held_waits_ = held_calls_ = 0;
  return back;
}

bool Outbox::writing() const {
  return std::any_of(writes_.begin(), writes_.end(),
                     [this](const Write& each) { return each.link == link_; });
}

uint64_t Outbox::unacked() const { return weight_ + WeightOf(waiting_.size(), bytes_.waiting); }

OutboxAmounts Outbox::amounts() const {
  return {.waits = {0, held_waits_},
          .calls = {0, held_calls_},
          .results = {waiting_.size() + returns_ + responses_.size(),
                      held_returns_ + responses_.size() * sizeof(Response) + bytes_.unwritten +
                          bytes_.written}};
}

// Null: it is acknowledged, or there is no such.
Outbox::Response* Outbox::Find(uint64_t sequence) {
  if (responses_.empty() || sequence < responses_.front().sequence) return nullptr;
  return &responses_[sequence - responses_.front().sequence];
}

Outbox::Operations Outbox::Release(Response& response) {
  returns_ -= response.returns.size();
  bytes_.kept -= std::exchange(response.kept, 0);
  held_returns_ -= std::exchange(response.held, 0);
  return std::exchange(response.returns, {});
}

bool Outbox::BeingWritten(uint64_t sequence) const {
  return std::any_of(writes_.begin(), writes_.end(),
                     [&](const Write& each) { return each.sequence == sequence; });
}

}  // namespace waitd::server
