#ifndef WAITD_CORE_NAME_MERGE_H_
#define WAITD_CORE_NAME_MERGE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace waitd::core {

/// One page of names from several sources, each in order: their merge, which looks at few names
/// more than the page has. The source whose name is needed next is looked at, for about as many
/// names as the rest of the page needs of it. Looks are short, since each is under a lock.
///
/// Threads:    none of its own. Sources may change between looks: a name that is there all the time
///             is found once.
/// Invariants: 1. Every name up to the last one in the page has been looked at, in each source.
class NameMerge {
 public:
  static constexpr uint32_t kLookMax = 1000;  ///< names in one look
  /// Names in all looks. A page whose filter matches few ends early then.
  static constexpr uint32_t kSeenMax = 128'000;

  struct Source {
    std::string seen;                ///< the last name looked at; before that: where to begin
    bool begun = false;              ///< it was looked at
    bool more = true;                ///< it has names behind `seen`
    std::vector<std::string> names;  ///< those that match
    size_t next = 0;                 ///< the first of them that is not in the page
  };

  struct Page {
    std::vector<std::string> names;
    std::string next_after;  ///< where the next page begins; empty: there is none
  };

  /// All begin behind `after`. `page_size` is not 0.
  NameMerge(size_t sources, std::string_view after, uint32_t page_size)
      : page_size_(page_size), sources_(sources) {
    for (Source& source : sources_) source.seen = after;
  }

  /// `look(i, source, looks)` looks at up to so many names of source i, adds those that match,
  /// updates `seen` and `more`, and returns at how many it looked.
  template <class Look>
  Page Run(const Look& look) {
    for (size_t i = 0; i < sources_.size(); ++i) Refill(i, sources_.size(), look);
    while (!heap_.empty()) {
      if (page_.names.size() == page_size_) {
        page_.next_after = page_.names.back();
        break;
      }
      const size_t first = Pop();
      Source& source = sources_[first];
      if (source.next < source.names.size()) {
        page_.names.push_back(std::move(source.names[source.next++]));
        if (source.next < source.names.size() || source.more) Push(first);
      } else if (seen_ < kSeenMax) {
        Refill(first, heap_.size() + 1, look);
      } else {
        page_.next_after = source.seen;
        break;
      }
    }
    return std::move(page_);
  }

  /// At how many names it looked.
  uint64_t seen() const { return seen_; }

 private:
  // What a source has next: a name that matches, or any behind the last one seen.
  static std::string_view NextOf(const Source& source) {
    return source.next < source.names.size() ? source.names[source.next] : source.seen;
  }
  struct Later {
    const std::vector<Source>& sources;
    bool operator()(size_t a, size_t b) const { return NextOf(sources[a]) > NextOf(sources[b]); }
  };

  void Push(size_t i) {
    heap_.push_back(i);
    std::push_heap(heap_.begin(), heap_.end(), Later{sources_});
  }

  size_t Pop() {
    std::pop_heap(heap_.begin(), heap_.end(), Later{sources_});
    const size_t first = heap_.back();
    heap_.pop_back();
    return first;
  }

  template <class Look>
  void Refill(size_t i, size_t sharing, const Look& look) {
    Source& source = sources_[i];
    source.names.clear();
    source.next = 0;
    // As many as match are needed, and so many were looked at for each that matched.
    const uint64_t needed = (page_size_ - page_.names.size()) / sharing;
    const uint64_t looks = needed * (seen_ + 1) / (matched_ + 1) + kSlack;
    seen_ += look(i, source, static_cast<uint32_t>(std::min<uint64_t>(looks, kLookMax)));
    source.begun = true;
    matched_ += source.names.size();
    if (!source.names.empty() || source.more) Push(i);
  }

  static constexpr uint64_t kSlack = 2;  // fewer make more looks, more make longer ones

  const size_t page_size_;
  std::vector<Source> sources_;
  std::vector<size_t> heap_;  // of those with names left, by NextOf, the first one in front
  uint64_t seen_ = 0;
  uint64_t matched_ = 0;
  Page page_;
};

}  // namespace waitd::core

#endif  // WAITD_CORE_NAME_MERGE_H_
